"""Compute with several threads that do not wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

Map = Callable[[Callable[..., Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def open_lanes(limit: int) -> Iterator[Map]:
    """Yield a `map` that makes up to `limit` calls at once, PyTorch's threads shared among them.

    PyTorch divides each operation among its threads, and all wait for the slowest, which is the
    one whose core a data-loading process has just taken. Calls on pieces of a batch meet only
    at its end.
    """
    threads = torch.get_num_threads()
    lanes = min(threads, limit)
    if lanes < 2:
        yield map
        return
    try:
        share = (threads // lanes,)
        # PyTorch and the libraries below it have a number of threads for each thread that calls.
        with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=share) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)
