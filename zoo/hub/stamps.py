"""Memos of hashing: a file that did not change is hashed once and not at every use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from zoo.hub.disk import write_atomically
from zoo.hub.environment import verifies_always


def read_stamp(stamp: Path, status: os.stat_result) -> str | None:
    """Return the SHA-256 noted for a file of this status, or None when it must be hashed."""
    if verifies_always():
        return None
    try:
        noted, _, sha256 = stamp.read_text("ascii").rpartition(" ")
    except (OSError, ValueError):
        return None
    return sha256 if noted == _identity(status) else None


def write_stamp(stamp: Path, status: os.stat_result, sha256: str, scratch: Path) -> None:
    """Note the SHA-256 of a file of this status; a stamp not written only costs a hash later."""
    with suppress(OSError):
        write_atomically(stamp, f"{_identity(status)} {sha256}", scratch)


def _identity(status: os.stat_result) -> str:
    """Return what changes when a file is replaced or written to.

    The time of status change is part of it because, unlike the time of
    modification, a program that alters a file cannot set it back.
    """
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
