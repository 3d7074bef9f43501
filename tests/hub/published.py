"""A published file and records of it, for the tests beside this file."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from zoo.hub.fetch import fetch
from zoo.records import Weights

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def published(*sources: str, **fields: object) -> Weights:
    """Return a record of CONTENT with its SHA-256 and size, unless `fields` say otherwise."""
    known: dict[str, object] = {"sha256": SHA256, "size_bytes": len(CONTENT)}
    return Weights(sources=sources, format="native", **(known | fields))  # pyright: ignore


def unpinned(*sources: str, **fields: object) -> Weights:
    """Return a record of CONTENT without SHA-256 and size."""
    return published(*sources, sha256=None, size_bytes=None, **fields)


def fetch_it(weights: Weights, **options: object) -> Path:
    """Fetch for a model called `tiny-net`; relative paths start nowhere."""
    options = {"name": "tiny-net", "base_dir": Path("/nonexistent")} | options
    return fetch(weights, **options)  # pyright: ignore


def files_in(cache: Path) -> dict[str, bytes]:
    """Return what a cache holds besides memos and locks: content by relative path."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.parent.name != "stamps"
    }
