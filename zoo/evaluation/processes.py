"""The processes that share a job, started by `torchrun` or `accelerate launch`."""

from __future__ import annotations

import atexit
import functools
import os
from typing import Any

import torch
from torch import Tensor, nn


def must_use_cpu() -> bool:
    """Tell whether accelerate has to be told that this job runs on the CPU.

    Without it, accelerate takes each of several processes on a machine without
    a GPU for the only one, and every process does all of the work.
    """
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return asked or (several and not torch.cuda.is_available())


def join_processes() -> Any:
    """Return accelerate's `PartialState`: rank, number of processes and device of this one."""
    from accelerate import PartialState

    state = PartialState(cpu=must_use_cpu())
    if state.num_processes > 1:
        _leave_at_exit()
    return state


@functools.cache
def _leave_at_exit() -> None:
    # A process that ends inside the group takes its helper threads down with it, and
    # now and then the C++ runtime calls that a crash.
    atexit.register(_leave)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def share_buffers(model: nn.Module) -> None:
    """Give all processes the batch-norm statistics of the first."""
    from accelerate.utils import broadcast

    if join_processes().num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))  # type: ignore[arg-type]


def gather_numbers(*numbers: int) -> Tensor:
    """Return the numbers of every process: (processes, numbers)."""
    from accelerate.utils import gather

    return gather(torch.tensor([numbers], device=join_processes().device)).cpu()  # type: ignore


def interleave(rows: Tensor, total: int) -> Tensor:
    """Return `total` rows of which each process has every n-th, beginning with its own number.

    Shapes:
        rows: (about total / processes, width)
        returns: (total, width)
    """
    from accelerate.utils import reduce

    state = join_processes()
    merged = rows.new_zeros(total, rows.shape[1])
    merged[state.process_index :: state.num_processes] = rows
    return reduce(merged, "sum")  # type: ignore[return-value]


def find_worker_count() -> int:
    """Return how many data-loading processes suit this process on this machine."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # One processor of each share stays with the network itself.
    return max(0, min(8, (usable or 1) // processes - 1))
