"""Stop a training between two updates when the system asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Somebody asked the training to stop; its progress is up to date."""


@contextmanager
def stopping_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM has arrived since."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # only the main thread may install handlers
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def ignore_sigterm(_worker: int = 0) -> None:
    """Make a data-loading process leave SIGTERM to the process that trains.

    Slurm and Kubernetes signal every process; one that loads data must live
    until the training has saved its state, and ends with it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
