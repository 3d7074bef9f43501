"""What a speed measurement is, and how candidates are timed beside each other."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

RUNS = 7  # that count, of each candidate
WARM_UP = 2  # runs of each candidate that do not count


@dataclass(frozen=True)
class Measured:
    """The values of one candidate in one row: all runs, in the order they were made.

    `row` is what was done ("inference, batch 1"), `network` with what, `column` by whom
    ("zoo", "zoo optimised", "timm", "torchvision", "nni"), `unit` of the values ("s",
    "images/s", "1/s", "bytes").
    """

    row: str
    network: str
    column: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return the values with their median, and quartiles as the spread."""
        first, _, third = statistics.quantiles(self.values, n=4)
        return {**asdict(self), "median": self.median, "quartiles": [first, third]}


def in_turn(
    candidates: Mapping[str, Callable[[], Any]], *, runs: int = RUNS, warm_up: int = WARM_UP
) -> dict[str, tuple[float, ...]]:
    """Return the seconds of each run of each candidate, run in turn so that drift hits all alike.

    A candidate that returns a number says its seconds itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(warm_up + runs):
        for name, run in candidates.items():
            started = time.perf_counter()
            told = run()
            elapsed = told if isinstance(told, float) else time.perf_counter() - started
            if number >= warm_up:
                seconds[name].append(elapsed)
    return {name: tuple(values) for name, values in seconds.items()}


def in_process(code: str, *arguments: str, python: str = sys.executable) -> Any:
    """Run Python code in a process of its own; return the JSON of its last line of output."""
    output = subprocess.run(
        [python, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def ratio(measured: Iterable[Measured], column: str, against: str) -> float | None:
    """Return how many times faster `column` is than `against` in one row of one network.

    Above 1 is faster, whether the unit is a time or a rate; None when either is missing.
    """
    by_column = {each.column: each for each in measured}
    if column not in by_column or against not in by_column:
        return None
    ours, theirs = by_column[column], by_column[against]
    quotient = ours.median / theirs.median
    return quotient if ours.unit.endswith("/s") else 1 / quotient
