"""Digests of files, streamed: memory stays small however large the file is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from zoo.hub.disk import disk_errors
from zoo.records import Weights

BLOCK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hex digits.

    Raises:
        CacheError: the file cannot be read; the message names it.
    """
    return read_digests(path, ["sha256"])["sha256"]


def read_digests(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """Return the digests of a file in one pass, as lower-case hex by algorithm.

    Args:
        algorithms: Any of `sha256`, `sha1`, `md5` and `git_blob_sha1`, which is
            the SHA-1 git gives a file: that of `b"blob <size>\\0"` and the content.

    Raises:
        CacheError: the file cannot be read; the message names it.
    """
    with disk_errors("read", path), open(path, "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        hashes = {name: _new_hash(name, size_bytes) for name in algorithms}
        while block := file.read(BLOCK_BYTES):
            for digest in hashes.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


def expected_digests(weights: Weights, pinned_sha256: str | None = None) -> dict[str, str]:
    """Return the digests a file must have, by field name; the whole SHA-256 alone if known."""
    if weights.sha256:
        return {"sha256": weights.sha256}
    fields = ("sha256_prefix", "sha1", "md5", "git_blob_sha1")
    expected = {name: value for name in fields if (value := getattr(weights, name))}
    return expected | ({"sha256": pinned_sha256} if pinned_sha256 else {})


def check_digests(path: Path, expected: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the SHA-256 of a file, and what is wrong with it or None.

    Raises:
        CacheError: the file cannot be read; the message names it.
    """
    algorithms = {"sha256"} | {name for name in expected if name != "sha256_prefix"}
    found = read_digests(path, algorithms)
    found["sha256_prefix"] = found["sha256"][:8]
    for name, digest in expected.items():
        if found[name] != digest:
            return found["sha256"], f"{name} is {found[name]}, expected {digest}"
    return found["sha256"], None


def _new_hash(name: str, size_bytes: int) -> hashlib._Hash:
    if name == "git_blob_sha1":
        return hashlib.sha1(f"blob {size_bytes}\0".encode(), usedforsecurity=False)
    return hashlib.new(name, usedforsecurity=name == "sha256")
