"""Which of several forms of a network is the fastest here: a short measurement, remembered."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor

from zoo.optimizing.proof import Runner
from zoo.records import Record

RUNS = 7
SECONDS = 2.0  # for one backend; a slow network is run three times all the same


class Choice(Record, frozen=True, kw_only=True):
    """The fastest backend for a batch size on this machine, and what all of them took.

    `milliseconds` are medians of a few runs; `failures` are reasons of backends left out.
    """

    backend: str
    batch_size: int
    milliseconds: dict[str, float]
    failures: dict[str, str]

    def describe(self) -> str:
        """Return one line for people, `onnxruntime: 3.8 ms for a batch of 1 (eager 8.5 ms)`."""
        others = [
            f"{name} {milliseconds:.1f} ms"
            for name, milliseconds in sorted(self.milliseconds.items(), key=lambda item: item[1])
            if name != self.backend
        ]
        return (
            f"{self.backend}: {self.milliseconds[self.backend]:.1f} ms for a batch of "
            f"{self.batch_size} ({', '.join(others) or 'nothing else to compare with'})"
        )


@torch.inference_mode()
def measure_milliseconds(run: Runner, images: Tensor) -> float:
    """Return the median time of a few runs, after one that warms up."""
    run(images)
    started = time.perf_counter()
    taken = []
    while len(taken) < RUNS and (len(taken) < 3 or time.perf_counter() - started < SECONDS):
        before = time.perf_counter()
        run(images)
        taken.append(time.perf_counter() - before)
    return 1000 * statistics.median(taken)
