"""Small file operations whose failures say which file, whose it is and what to do."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import CacheError

NEXT_STEPS = {
    errno.EACCES: "Ask its owner for access, or set ZOO_HOME to a directory of your own.",
    errno.EPERM: "Ask its owner for access, or set ZOO_HOME to a directory of your own.",
    errno.ENOTDIR: "Set ZOO_HOME to a directory.",
    errno.ENOSPC: "Free space, or set ZOO_HOME to a larger disk.",
    errno.EDQUOT: "Your quota is used up: free space, or set ZOO_HOME to another disk.",
    errno.EFBIG: "The file is larger than allowed here: see `ulimit -f`, or set ZOO_HOME.",
    errno.EROFS: "The file system is read-only: set ZOO_HOME to a writable directory.",
    errno.EIO: "The disk reports a fault; do not trust it before it was checked.",
    errno.ENAMETOOLONG: "Set ZOO_HOME to a shorter path.",
    errno.ELOOP: "Remove the symbolic link.",
}


@contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Turn any OSError inside into a CacheError `cannot <action> <path>: …`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        step = NEXT_STEPS.get(error.errno or 0, "")
        if error.errno in (errno.EACCES, errno.EPERM):
            reason += f" ({_owner_of(path)})"
        raise CacheError(f"cannot {action} {path}: {reason}. {step}".rstrip()) from error


def regular_status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file, or None if there is nothing.

    Raises:
        CacheError: something else is in its place, which could block or mislead a reader.
    """
    with disk_errors("read", path):
        if not os.path.lexists(path):
            return None
        try:
            status = path.stat()
        except OSError as error:
            if path.is_symlink():
                reason = "is a symbolic link that leads nowhere"
                raise CacheError(f"{path} {reason}. Remove it.") from error
            if isinstance(error, FileNotFoundError):  # removed this very moment
                return None
            raise
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise CacheError(f"{path} is {kind}, expected a regular file. Remove it.")
    return status


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; raises CacheError when it is gone."""
    with disk_errors("read", path):
        return path.stat().st_size


def empty(path: Path) -> None:
    """Make an existing file empty; raises CacheError when it is gone."""
    with disk_errors("empty", path):
        os.truncate(path, 0)


def write_atomically(path: Path, text: str, scratch: Path) -> None:
    """Write a small text file so that readers see the old text or the new, never a part.

    Args:
        scratch: A directory of the same file system for the file on its way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f"note.{os.getpid()}-{secrets.token_hex(4)}"
    temporary.write_text(text, "ascii")
    temporary.replace(path)


def _owner_of(path: Path) -> str:
    nearest = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    try:
        return f"{nearest} belongs to {nearest.owner()}"
    except (OSError, KeyError, NotImplementedError):  # no such user here; Windows
        return f"{nearest} belongs to another user"
