"""Another attempt after what may pass: a busy server, a lost connection."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from zoo.hub.failures import Interrupted, SourceFailed

Result = TypeVar("Result")

ATTEMPTS = 3
BACKOFF_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


def retrying(attempt: Callable[[], Result]) -> Result:
    """Return what `attempt` returns, asking up to ATTEMPTS times while it is interrupted.

    Raises:
        SourceFailed: what the last attempt raised.
    """
    for count in range(1, ATTEMPTS):
        try:
            return attempt()
        except Interrupted as error:
            time.sleep(_pause_seconds(count, error.retry_after_seconds))
    try:
        return attempt()
    except Interrupted as error:
        raise SourceFailed(f"{error} ({ATTEMPTS} attempts)") from error


def retry_after_seconds(header: str | None) -> float | None:
    """Return what a Retry-After header asks for; a date counts as nothing, clocks being wrong."""
    return float(header) if header and header.isdecimal() and header.isascii() else None


def _pause_seconds(count: int, asked_seconds: float | None) -> float:
    # Jitter, so that many processes refused together do not come back together.
    backoff = BACKOFF_SECONDS * 2 ** (count - 1) * random.uniform(0.5, 1.5)
    return min(max(backoff, asked_seconds or 0.0), LONGEST_PAUSE_SECONDS)
