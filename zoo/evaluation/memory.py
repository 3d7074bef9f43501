"""Keep the memory of large tensors for the next ones, instead of returning it to the system."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Parameters of glibc's mallopt(3), from its malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
MIB = 2**20
KEPT = {
    M_MMAP_MAX: 0,  # no block is asked of the system alone, and returned alone
    M_TRIM_THRESHOLD: -1,  # nothing is returned
    M_TOP_PAD: 256 * MIB,  # ask seldom; threads keep their areas, which are smaller
}
# glibc's own, with the thresholds that it comes to by itself in a process with large tensors.
USUAL = {
    M_MMAP_MAX: 65536,
    M_MMAP_THRESHOLD: 32 * MIB,
    M_TRIM_THRESHOLD: 64 * MIB,
    M_TOP_PAD: 128 * 1024,
}
_entered = 0


@contextmanager
def keeping_memory(device: torch.device) -> Iterator[None]:
    """Let freed memory stay with this process; on leaving it goes back to the system.

    By itself glibc returns a large block when a tensor is freed, and the next tensor gets it
    again page by page, each filled with zeros first: a large part of the time of small networks
    on large batches. The peak grows by up to about a fifth in a training, since the gaps between
    blocks do not always fit the next one.

    It changes nothing for other devices, with other C libraries, or where the user has set up
    glibc's malloc by environment variables. It may be nested.
    """
    global _entered
    library = _find_glibc() if device.type == "cpu" else None
    if library is None:
        yield
        return
    _entered += 1
    try:
        if _entered == 1:
            _set(library, KEPT)
        yield
    finally:
        _entered -= 1
        if not _entered:
            _set(library, USUAL)
            library.malloc_trim(0)


def _find_glibc() -> Any:
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError):  # Windows, macOS
        library = ""
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") and name.endswith("_") for name in os.environ
    )
    if tuned or not library.startswith("glibc"):
        return None
    return ctypes.CDLL(None)


def _set(library: Any, parameters: dict[int, int]) -> None:
    for parameter, value in parameters.items():
        library.mallopt(parameter, value)
