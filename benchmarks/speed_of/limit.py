"""The column "limit": images per second if this machine did nothing but multiply matrices."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import torch

from speed_of.measuring import Measured
from zoo.errors import UnknownModel
from zoo.manifest import find_entry

SIZE = 2048  # of the matrices: large enough to hide what a call costs
COLUMN = "limit"
# Forward passes that a step is worth: a backward pass computes two gradients.
PASSES = {"inference": 1, "evaluation": 1, "fine-tuning": 3}


def measure_peak(runs: int) -> tuple[float, ...]:
    """Return multiply-accumulates per second of matrix products in float32, on all threads."""
    left, right = torch.randn(2, SIZE, SIZE).unbind()
    out = torch.empty(SIZE, SIZE)
    taken = []
    for number in range(runs + 2):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        if number >= 2:
            taken.append(time.perf_counter() - started)
    return tuple(SIZE**3 / seconds for seconds in taken)


def beside(measured: Iterable[Measured], peak: tuple[float, ...]) -> Iterator[Measured]:
    """Yield the limit for each row of each network that is measured in images per second."""
    rows = {(each.row, each.network) for each in measured if each.unit == "images/s"}
    for row, network in sorted(rows):
        passes, macs = PASSES.get(row.split(",")[0]), find_macs(network)
        if passes and macs:
            yield Measured(
                row,
                network,
                COLUMN,
                "images/s",
                tuple(each / (passes * macs) for each in peak),
                f"{SIZE} × {SIZE} matrix products over {passes * macs / 1e6:.0f} M MACs",
            )


def find_macs(name: str) -> int | None:
    """Return the multiply-accumulates of a model of the zoo for one image, None for another."""
    try:
        return find_entry(name).record.macs
    except UnknownModel:
        return None
