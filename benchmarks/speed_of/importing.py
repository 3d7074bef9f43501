"""Rows "import": what importing costs in fresh processes, in time and memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from speed_of.measuring import PEAK, Measured, in_process, repeat_in_turn

STATEMENTS = {
    "torch": "import torch",
    "zoo": "import torch, zoo",
    "zoo, all spaces": "import torch; from zoo.registry import SPACES, find_space\n"
    "for name in SPACES: find_space(name)",
    "timm": "import timm",
    "torchvision": "import torchvision",
    "nni": "import nni.nas.hub.pytorch",
}

_MEMORY = "\n" + PEAK + "print(find_peak())"


def measure(*, runs: int, nni_python: str | None = None) -> Iterator[Measured]:
    """Yield the time from the start of a process to its end, and its peak memory."""
    pythons = dict.fromkeys(STATEMENTS, sys.executable)
    if nni_python:
        pythons["nni"] = nni_python
    else:
        del pythons["nni"]
    results = repeat_in_turn(
        {column: _runner(STATEMENTS[column], python) for column, python in pythons.items()},
        runs=runs,
        warm_up=1,
    )
    for column, pairs in results.items():
        seconds, peaks = zip(*pairs, strict=True)
        yield Measured("import", "", column, "s", seconds)
        yield Measured("import, peak memory", "", column, "bytes", peaks)


def _runner(statement: str, python: str) -> Callable[[], tuple[float, float]]:
    def run() -> tuple[float, float]:
        started = time.perf_counter()
        peak = in_process(statement + _MEMORY, python=python)
        return time.perf_counter() - started, peak

    return run
