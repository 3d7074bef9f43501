"""The cache directory: verified files by SHA-256, never by a name somebody else chose.

    blobs/<sha256>                      whole, verified files
    partials/                           downloads on their way; see `zoo.hub.partials`
    refs/<kind>/<sha256 of the key>     small pointers to blobs, as git has refs
    stamps/<sha256>                     memos of earlier hashing; see `zoo.hub.stamps`

A file gets its place by an atomic rename after it was verified, so that a kill
at any moment leaves a good entry or none.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from zoo.hub.checksum import file_sha256
from zoo.hub.disk import disk_errors, regular_status, write_atomically
from zoo.hub.environment import cache_root as cache_root
from zoo.hub.environment import is_offline as is_offline
from zoo.hub.stamps import read_stamp, write_stamp

LOG = logging.getLogger("zoo")
RefKind = Literal["pin", "native", "optimized"]


class Cache:
    """A cache directory. Nothing is created before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.partials = root / "partials"

    def blob(self, sha256: str) -> Path:
        """Return where the file with this digest is, or would be."""
        return self.root / "blobs" / sha256

    def ref(self, kind: RefKind, key: str) -> Path:
        """Return where the pointer called `key` is, or would be."""
        return self.root / "refs" / kind / hashlib.sha256(key.encode()).hexdigest()

    def find(self, sha256: str) -> Path | None:
        """Return an intact entry, or None; a damaged entry is removed.

        Raises:
            CacheError: the entry is no regular file, cannot be read, or is
                damaged and cannot be removed.
        """
        path = self.blob(sha256)
        status = regular_status(path)
        if status is None:
            return None
        if self.read_stamp(sha256, status) == sha256:
            return path
        if (found := file_sha256(path)) == sha256:
            self.write_stamp(sha256, status, sha256)
            return path
        with disk_errors("remove the damaged file", path):
            # Another process may have put a good file there while we were hashing.
            if path.stat().st_ino == status.st_ino:
                path.unlink()
        LOG.warning("removed %s: it was damaged (its SHA-256 was %s)", path, found)
        return None

    def add(self, temporary: Path, sha256: str) -> Path:
        """Move a verified file into its place, atomically, and return the place.

        Args:
            temporary: On the same file system, as everything in `partials` is.

        Raises:
            CacheError: the file cannot be moved.
        """
        path = self.blob(sha256)
        with disk_errors("put in place", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
                    inode = os.fstat(file.fileno()).st_ino
                temporary.replace(path)
            except OSError:
                # Another process may have published the same bytes and removed what led to them,
                # or (on Windows) be reading them: a file in use cannot be replaced there.
                if self.find(sha256):
                    return path
                raise
            if (status := path.stat()).st_ino == inode:
                self.write_stamp(sha256, status, sha256)
        return path

    def find_made(self, kind: RefKind, key: str) -> Path | None:
        """Return the intact file that was kept under `key`, or None.

        Raises:
            CacheError: see `find`.
        """
        sha256 = self.read_ref(kind, key)
        return self.find(sha256) if sha256 else None

    def keep_made(self, kind: RefKind, key: str, write: Callable[[Path], None]) -> Path:
        """Keep the file that `write` makes at the path it is given under `key`; return its place.

        Raises:
            OSError, CacheError: the cache cannot be written to.
        """
        self.partials.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.partials) as folder:
            write(temporary := Path(folder) / "made")
            sha256 = file_sha256(temporary)
            path = self.add(temporary, sha256)
        self.write_ref(kind, key, sha256)
        return path

    def read_ref(self, kind: RefKind, key: str) -> str | None:
        """Return the digest that `key` points to, or None."""
        try:
            sha256 = self.ref(kind, key).read_text("ascii")
        except (OSError, ValueError):
            return None
        return sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else None

    def write_ref(self, kind: RefKind, key: str, sha256: str) -> None:
        """Make `key` point to a digest.

        Raises:
            CacheError: the cache cannot be written to.
        """
        path = self.ref(kind, key)
        with disk_errors("write", path):
            write_atomically(path, sha256, self.partials)

    def read_stamp(self, key: str, status: os.stat_result) -> str | None:
        """Return the SHA-256 noted under `key`, hex digits, for a file of this status, or None."""
        return read_stamp(self.root / "stamps" / key, status)

    def write_stamp(self, key: str, status: os.stat_result, sha256: str) -> None:
        """Note under `key` that a file of this status has this SHA-256, if that can be written."""
        if self.writable():
            write_stamp(self.root / "stamps" / key, status, sha256, self.partials)

    def writable(self) -> bool:
        """Return whether the directory, or the nearest that exists above it, can be written to."""
        nearest = next(path for path in (self.root, *self.root.parents) if os.path.lexists(path))
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
