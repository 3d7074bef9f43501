"""What is asked of the zoo's speed, as data, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from speed_of import agreement
from speed_of.inference import BATCH_SIZES, OPTIMISED
from speed_of.measuring import Measured, quartiles, speedups

EVERY = "every"


@dataclass(frozen=True)
class Target:
    """One demand on one row of one network, or of every network that has both columns.

    Args:
        against: The column to compare with; None judges the value itself.
        at_least: So many times faster than `against`.
        at_most: So many times the value of `against`, such as bytes or seconds.
    """

    row: str
    network: str
    column: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None


def _inference(batch_size: int, network: str, against: str, at_least: float) -> Target:
    return Target(f"inference, batch {batch_size}", network, OPTIMISED, against, at_least)


TARGETS = (
    Target("import", "", "zoo", "torch", at_most=1.05),
    Target("load, warm cache", "mobilenetv3-large-100", "zoo", "timm", 2.0),
    Target("load, warm cache", "nasnet-a-large", "zoo", "timm", 4.0),
    Target("load, warm cache, peak memory", EVERY, "zoo", at_most=1.1),
    _inference(1, "mobilenetv3-large-100", "timm", 3.2),
    _inference(32, "mobilenetv3-large-100", "timm", 4.8),
    _inference(1, "nasnet-a-large", "timm", 2.2),
    _inference(1, "darts-v2", "nni", 2.2),
    *(Target(f"inference, batch {size}", EVERY, "zoo", "timm", 1.0) for size in BATCH_SIZES),
    Target("evaluation", EVERY, "zoo", "timm", 1.5),
    Target("fine-tuning", EVERY, "zoo", "timm", 1.2),
    Target("build", "DARTS", "zoo", "nni", 5.0),
    Target("build", "MobileNetV3Space", "zoo", "nni", 5.0),
    Target("sample + mutate + encode", "DARTS", "zoo", "nni", 20.0),
    Target("sample + mutate + encode", "MobileNetV3Space", "zoo", "nni", 20.0),
    Target(agreement.ROW, EVERY, EVERY, at_least=0.999),
)


def judge(measured: Sequence[Measured], targets: Iterable[Target] = TARGETS) -> list[dict]:
    """Return each target with what was measured for it: the worst, where it is about several.

    `ratio` and `quartiles` are of the quotients run by run. All is None where something has not
    been measured.
    """
    return [_judge(measured, target) for target in targets]


def _judge(measured: Sequence[Measured], target: Target) -> dict[str, Any]:
    found = [
        {"network": ours.network, "column": ours.column, **_compare(ours, theirs, target)}
        for ours, theirs in _find_pairs(measured, target)
    ]
    if not found:
        nothing = dict.fromkeys(("ratio", "quartiles", "holds", "worst", "measured"))
        return {**asdict(target), **nothing}
    worst = (min if target.at_least is not None else max)(found, key=lambda each: each["ratio"])
    return {
        **asdict(target),
        "ratio": worst["ratio"],
        "quartiles": worst["quartiles"],
        "holds": worst["ratio"] >= target.at_least
        if target.at_least is not None
        else worst["ratio"] <= target.at_most,
        "worst": worst["network"],
        "measured": found,
    }


def _find_pairs(
    measured: Sequence[Measured], target: Target
) -> Iterable[tuple[Measured, Measured | None]]:
    rows = {(each.network, each.column): each for each in measured if each.row == target.row}
    for (network, column), ours in rows.items():
        if target.network not in (network, EVERY) or target.column not in (column, EVERY):
            continue
        theirs = rows.get((network, target.against or ""))
        if theirs or target.against is None:
            yield ours, theirs


def _compare(ours: Measured, theirs: Measured | None, target: Target) -> dict[str, Any]:
    if theirs is None:
        return {"ratio": ours.median, "quartiles": quartiles(ours.values)}
    quotients = speedups(ours, theirs)
    if target.at_most is not None:  # not how many times faster, but how many times as much
        quotients = [1 / quotient for quotient in quotients]
    return {"ratio": statistics.median(quotients), "quartiles": quartiles(quotients)}
