"""A process that fetches one file: `python -m tests.hub.worker URL [fault]`; prints its SHA-256."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from tests.hub.published import fetch_it, published
from zoo.errors import ZooError
from zoo.hub import partials, retry
from zoo.hub.checksum import file_sha256


def main(url: str, fault: str = "") -> int:
    """Fetch with locks that work, do nothing (`no-op`) or fail (`ENOLCK`, `ENOSYS`)."""
    retry.BACKOFF_SECONDS = 0.01
    if fault:
        partials.fcntl.flock = lambda *_: _fail(fault)
    try:
        path = fetch_it(published(url))
    except ZooError as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    print(file_sha256(Path(path)))
    return 0


def _fail(fault: str) -> None:
    if fault != "no-op":
        raise OSError(getattr(errno, fault), fault)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
