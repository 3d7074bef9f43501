"""What a speed measurement is, and how candidates are timed beside each other."""

from __future__ import annotations

import functools
import inspect
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

RUNS = 7  # that count, of each candidate
WARM_UP = 2  # runs of each candidate that do not count

Result = TypeVar("Result")


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

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    def as_json(self) -> dict[str, Any]:
        """Return the values with their median, and quartiles as the spread."""
        return {**asdict(self), "median": self.median, "quartiles": quartiles(self.values)}


def forget_peak() -> None:
    """Let `find_peak` begin anew: imports leave a peak above what they keep.

    Where Linux's way is missing, less of what follows is seen.
    """
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def find_peak() -> int:
    """Return the peak memory of this process in bytes.

    Linux begins `ru_maxrss` with the peak of the process that started this one.
    """
    try:
        with open("/proc/self/status") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except OSError:  # macOS
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# Both as code, for processes that cannot import this module.
PEAK = inspect.getsource(forget_peak) + inspect.getsource(find_peak)


def quartiles(values: Iterable[float]) -> list[float]:
    """Return the first and the third quartile; of a single value, that value twice."""
    values = list(values)
    if len(values) < 2:
        return values * 2
    first, _, third = statistics.quantiles(values, n=4)
    return [first, third]


def repeat_in_turn(
    candidates: Mapping[str, Callable[[], Result]], *, runs: int = RUNS, warm_up: int = WARM_UP
) -> dict[str, list[Result]]:
    """Return what each run of each candidate gave, run in turn so that drift hits all alike."""
    results: dict[str, list[Result]] = {name: [] for name in candidates}
    for number in range(warm_up + runs):
        for name, run in candidates.items():
            result = run()
            if number >= warm_up:
                results[name].append(result)
    return results


def time_call(run: Callable[[], Any]) -> float:
    """Return the mean seconds of a call, over calls of a quarter of a second.

    A single short call would find cold caches, and threads of the candidate before still
    spinning. A `run` that returns a number says its seconds itself.
    """
    started = time.perf_counter()
    told = run()
    first = time.perf_counter() - started
    if isinstance(told, float):
        return told
    calls = int(0.25 / first)
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls if calls else first


def in_turn(
    candidates: Mapping[str, Callable[[], Any]], *, runs: int = RUNS, warm_up: int = WARM_UP
) -> dict[str, tuple[float, ...]]:
    """Return the seconds of each run of each candidate, as `time_call`, run in turn."""
    timers = {name: functools.partial(time_call, run) for name, run in candidates.items()}
    seconds = repeat_in_turn(timers, runs=runs, warm_up=warm_up)
    return {name: tuple(values) for name, values in seconds.items()}


def in_process(
    code: str,
    *arguments: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Run Python code in a process of its own; return the JSON of its last line of output."""
    output = subprocess.run(
        [python, "-c", code, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ).stdout
    return json.loads(output.splitlines()[-1])


# What `elsewhere` adds to the code that it is given.
_SERVE = f"""
import sys, time
from collections.abc import Callable
from typing import Any
{inspect.getsource(time_call)}
for _ in sys.stdin:
    print("seconds", time_call(run), flush=True)
"""


@contextmanager
def elsewhere(code: str, *arguments: str, python: str) -> Iterator[Callable[[], float]]:
    """Give a candidate for `in_turn` that lives in another Python.

    Args:
        code: Defines a function `run`; each call of the candidate times it as `time_call`.
    """
    process = subprocess.Popen(
        [python, "-W", "ignore", "-c", code + _SERVE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    wish, answers = process.stdin, process.stdout

    def run() -> float:
        wish.write("\n")
        wish.flush()
        for line in answers:  # a library may print lines of its own
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"{python} ended before it answered; see its error above")

    try:
        yield run
    finally:
        wish.close()
        process.wait()


def speedups(ours: Measured, theirs: Measured) -> list[float]:
    """Return how many times faster `ours` is, run by run; whether a time or a rate was measured.

    Runs were made in turn, so a machine that drifts changes the values more than their quotients.
    """
    pairs = zip(ours.values, theirs.values, strict=False)
    return [a / b if ours.is_rate else b / a for a, b in pairs]
