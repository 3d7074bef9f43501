"""From an open body to a partial file: limits, minimum speed, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from zoo.hub.disk import disk_errors
from zoo.hub.failures import Interrupted, SourceFailed

if TYPE_CHECKING:
    from tqdm import tqdm

CHUNK_BYTES = 1 << 20
LARGEST_BYTES = 1 << 36  # a body of unknown length is cut off at 64 GiB
MINIMUM_BYTES_PER_SECOND = 1000.0
SLOW_SECONDS = 30.0

CONTENT_STARTS = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer"),
)


def check_content(head: bytes) -> None:
    """Refuse what servers send in place of a file, so that it is not taken for a damaged one.

    Raises:
        SourceFailed: the first bytes are those of a page, a document or a pointer.
    """
    if not head:
        raise SourceFailed("not a checkpoint: an empty file")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, kind in CONTENT_STARTS:
        if text.startswith(start):
            raise SourceFailed(f"not a checkpoint: {kind}")


def write_body(
    read: Callable[[int], bytes], partial: Path, *, offset: int, size_bytes: int | None, label: str
) -> int:
    """Write a body into a partial file from `offset` on, and return the size reached.

    Args:
        read: Returns at most so many bytes, as soon as there are any; none at the end.
        size_bytes: The published size; reading stops one byte after it.
        label: For the progress bar.

    Raises:
        Interrupted: the connection broke or was too slow; the partial is kept.
        SourceFailed: more bytes came than were published; the partial is emptied.
        CacheError: the disk is full or failed.
    """
    limit = LARGEST_BYTES if size_bytes is None else size_bytes
    position = offset
    speed = _SpeedRule()
    with disk_errors("write", partial), open(partial, "rb+") as file, _progress(label) as bar:
        bar.total = size_bytes
        bar.update(offset)
        file.seek(offset)
        file.truncate()
        while chunk := read_chunk(read, min(CHUNK_BYTES, limit - position + 1)):
            position += len(chunk)
            if position > limit:
                file.truncate(0)
                raise SourceFailed(f"sends more than {limit:,} bytes")
            file.write(chunk)
            bar.update(len(chunk))
            speed.check(len(chunk))
    return position


class _SpeedRule:
    """Refuses a body that drips for SLOW_SECONDS, which a read time-out never notices."""

    def __init__(self) -> None:
        self.since, self.received_bytes = time.monotonic(), 0

    def check(self, chunk_bytes: int) -> None:
        self.received_bytes += chunk_bytes
        seconds = time.monotonic() - self.since
        if seconds < SLOW_SECONDS:
            return
        if (speed := self.received_bytes / seconds) < MINIMUM_BYTES_PER_SECOND:
            raise Interrupted(
                f"too slow: {speed:,.0f} bytes/s for {seconds:,.1f} s, "
                f"expected at least {MINIMUM_BYTES_PER_SECOND:,.0f}"
            )
        self.since, self.received_bytes = time.monotonic(), 0


def read_chunk(read: Callable[[int], bytes], size_bytes: int) -> bytes:
    """Return what `read` gives.

    Raises:
        Interrupted: the connection broke or nothing came in time.
    """
    try:
        return read(size_bytes)
    except TimeoutError as error:
        raise Interrupted("stalled: no bytes came before the read time-out") from error
    except (OSError, HTTPException) as error:
        # Here and not around the loop, where it would be taken for a failing disk.
        raise Interrupted(f"connection lost: {error or type(error).__name__}") from error


def _progress(label: str) -> tqdm[NoReturn]:
    from tqdm import tqdm

    silent = sys.stderr is None or not sys.stderr.isatty()
    return tqdm(desc=label, unit="B", unit_scale=True, disable=silent, file=sys.stderr)
