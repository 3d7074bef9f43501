"""Stop a training between two updates when the system or the user asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)  # SIGINT is Ctrl-C


class Interrupted(Exception):
    """Somebody asked the training to stop; its progress is up to date."""


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM or Ctrl-C has arrived since.

    A second signal acts at once, as it would without this.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # only the main thread may install handlers
        return

    def ask(number: Any, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(_worker: int = 0) -> None:
    """Make a data-loading process leave the signals to the process that trains.

    Slurm, Kubernetes and Ctrl-C signal every process; one that loads data must live
    until the training has saved its state, and ends with it.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
