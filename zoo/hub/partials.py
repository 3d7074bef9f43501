"""Downloads that are not whole yet, and whose turn it is to download.

Each process writes a partial of its own, `<key>.<unique>`, so no two writers
ever share a file and nothing depends on locks. A process that finds a partial
of the same key left by a killed one goes on from a copy of it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import CacheError
from zoo.hub.disk import disk_errors

try:
    import fcntl
except ImportError:  # Windows: everybody downloads for himself
    fcntl = None

STALE_SECONDS = 600.0  # a live writer touches its partial far more often: see `zoo.hub.opening`
TURN_STALL_SECONDS = 60.0
TURN_POLL_SECONDS = 0.05


@contextmanager
def partial_file(folder: Path, key: str, size_bytes: int | None, *, resume: bool) -> Iterator[Path]:
    """Give a partial file of our own: a copy of the longest of this key, or empty.

    It is kept for the next run when it has grown, unless the disk failed.

    Args:
        key: Hex digits that only downloads of the same bytes have in common.
        size_bytes: Partials longer than this are not continued.
        resume: False starts empty and keeps nothing.

    Raises:
        CacheError: the file cannot be created.
    """
    partial = folder / f"{key}.{os.getpid()}-{secrets.token_hex(4)}"
    with disk_errors("write", partial):
        orphan = _longest(folder, key, size_bytes) if resume else None
        partial.touch(exist_ok=False)
        if orphan:
            # A copy, because the file may have a living writer after all. It may be torn for
            # the same reason, or vanish: the digest of the whole decides in the end.
            with suppress(FileNotFoundError):
                shutil.copyfile(orphan, partial)
        _remove_stale(folder, partial)
        copied_bytes = partial.stat().st_size
    try:
        yield partial
    except CacheError:
        partial.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):
            if not resume or partial.stat().st_size <= copied_bytes:
                partial.unlink()


def remove_partials(folder: Path, key: str) -> None:
    """Remove what is left of all downloads of this key; call it when the bytes are published."""
    for path in folder.glob(f"{key}.*"):
        with suppress(OSError):
            path.unlink()


@contextmanager
def turn(folder: Path, key: str, is_done: Callable[[], bool]) -> Iterator[None]:
    """Wait while another process downloads this key, so that one download serves all.

    An optimisation only. It ends when the holder ends or dies, when `is_done`,
    when nothing has grown for TURN_STALL_SECONDS, and at once where locks fail.
    """
    with disk_errors("write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / f"{key}.lock", "ab")  # noqa: SIM115  closed below
    with lock:
        size_bytes, since = -1, time.monotonic()
        while not _lock(lock.fileno()) and not is_done():
            if (now_bytes := _size_of_longest(folder, key)) != size_bytes:
                size_bytes, since = now_bytes, time.monotonic()
            if time.monotonic() - since > TURN_STALL_SECONDS:
                break
            time.sleep(TURN_POLL_SECONDS)
        yield


def _lock(descriptor: int) -> bool:
    """Return False if another process holds the lock, True if we do or if locks do not work."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # ENOSYS or ENOLCK: a network file system without locks
        pass
    return True


def _longest(folder: Path, key: str, size_bytes: int | None = None) -> Path | None:
    sizes = {}
    for path in folder.glob(f"{key}.*"):
        with suppress(OSError):
            sizes[path] = path.stat().st_size
    fitting = [path for path, size in sizes.items() if 0 < size <= (size_bytes or size)]
    return max(fitting, key=sizes.__getitem__, default=None)


def _size_of_longest(folder: Path, key: str) -> int:
    with suppress(OSError):
        if longest := _longest(folder, key):
            return longest.stat().st_size
    return 0


def _remove_stale(folder: Path, fresh: Path) -> None:
    """Remove partials nobody writes to; the file server's clock is compared with itself."""
    now = fresh.stat().st_mtime
    for path in folder.iterdir():
        with suppress(OSError):
            if now - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
