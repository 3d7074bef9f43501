"""Why one source did not deliver; `fetch` gathers these and raises a `FetchError` at the end."""

from __future__ import annotations


class SourceFailed(Exception):
    """One source did not deliver; the message is the reason, without the source."""


class Missing(SourceFailed):
    """The source answers, and has no such file."""


class WrongBytes(SourceFailed):
    """A whole file came, and is not the published one."""


class Interrupted(SourceFailed):
    """The source did not deliver this time; another attempt may go on where this one ended."""

    def __init__(self, reason: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds
