"""The file a fetch is after: what it must be, and where the cache may have it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import CacheError
from zoo.hub.body import check_content
from zoo.hub.cache import Cache
from zoo.hub.checksum import check_digests, expected_digests
from zoo.hub.disk import disk_errors, empty, regular_status, size_of
from zoo.hub.failures import Missing, SourceFailed, WrongBytes
from zoo.hub.sources import is_remote
from zoo.records import Weights

SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class Wanted:
    """The published file of one record; `name` is the model, for messages."""

    weights: Weights
    name: str
    cache: Cache

    @property
    def sha256(self) -> str | None:
        """The whole SHA-256: published, or pinned at the first download, or not known yet."""
        return self.weights.sha256 or self.cache.read_ref("pin", self.pin_key)

    @property
    def digests(self) -> dict[str, str]:
        """What is known of the content, by field name of `Weights`."""
        return expected_digests(self.weights, self.sha256)

    @property
    def resumable(self) -> bool:
        """Whether a download in several pieces can be told from a wrong one."""
        return bool(self.digests)

    @property
    def pin_key(self) -> str:
        """What the pin is filed under: the first source to download from, and the digests.

        Not a `file://` source, which may mean another file to another manifest.
        """
        remote = [source for source in self.weights.sources if is_remote(source)]
        return f"{(remote or self.weights.sources)[0]} {expected_digests(self.weights)}"

    @property
    def partial_key(self) -> str:
        """Hex digits that only downloads of the same bytes have in common."""
        return self.sha256 or hashlib.sha256(self.pin_key.encode()).hexdigest()

    def find_cached(self) -> Path | None:
        """Return the intact file in the cache, or None."""
        sha256 = self.sha256
        return self.cache.find(sha256) if sha256 else None

    def check(self, path: Path) -> str:
        """Return the SHA-256 of a file, which must be the published one.

        Raises:
            WrongBytes: it is not.
            SourceFailed: it is a page or a pointer, so no digest says anything about it.
        """
        size_bytes, published_bytes = size_of(path), self.weights.size_bytes
        with disk_errors("read", path), open(path, "rb") as file:
            check_content(file.read(512))
        if published_bytes and size_bytes != published_bytes:
            raise WrongBytes(f"{size_bytes:,} bytes, the published file has {published_bytes:,}")
        sha256, wrong = check_digests(path, self.digests)
        if wrong is None:
            return sha256
        reason = f"{wrong} ({size_bytes:,} bytes)"
        if wrong.startswith("sha256 is") and not self.weights.sha256:
            reason += (
                "; the expected one was noted at the first download. If you trust the new file, "
                f"delete {self.cache.ref('pin', self.pin_key)}"
            )
        raise WrongBytes(reason)

    def check_in_place(self, path: Path) -> Path:
        """Return a file of this machine if it is the published one; hashed once, as a cached file.

        A file without published size and digest is the user's own: there is nothing to compare.

        Raises:
            SourceFailed: there is no regular file, or other bytes.
        """
        try:
            status = regular_status(path)
        except CacheError as error:
            raise SourceFailed(str(error)) from error
        if status is None:
            raise Missing(f"no file {path}")
        digests = expected_digests(self.weights)
        key = hashlib.sha256(f"{path} {digests} {self.weights.size_bytes}".encode()).hexdigest()
        published = digests or self.weights.size_bytes
        if published and self.cache.read_stamp(key, status) is None:
            sha256 = self.check(path)
            # Clocks of file systems tick coarsely: a second write in the same tick would not show.
            if abs(time.time() - status.st_mtime) > SETTLED_SECONDS:
                self.cache.write_stamp(key, status, sha256)
        return path

    def keep(self, partial: Path) -> Path:
        """Check a complete download and return its place in the cache.

        Raises:
            WrongBytes, SourceFailed: see `check`; the download is emptied.
        """
        try:
            sha256 = self.check(partial)
        except SourceFailed:
            empty(partial)  # so that nothing goes on from wrong bytes
            raise
        if self.sha256 is None:
            # Before the file, so that no file can be in use that a later one may differ from.
            self.cache.write_ref("pin", self.pin_key, sha256)
        return self.cache.add(partial, sha256)

    def __str__(self) -> str:
        known = ", ".join(f"{name} {digest}" for name, digest in self.digests.items())
        return f"{self._size} bytes, {known or 'no published digest'}"

    @property
    def _size(self) -> str:
        return f"{self.weights.size_bytes:,}" if self.weights.size_bytes else "unknown"
