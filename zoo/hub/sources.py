"""Which places may have a file, in the order to ask, and how each is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, cast
from urllib.parse import unquote, urlsplit

from zoo.errors import CacheError
from zoo.hub.body import write_body
from zoo.hub.environment import mirrors
from zoo.hub.failures import Missing, SourceFailed
from zoo.hub.http import download
from zoo.hub.huggingface import download_from_hub
from zoo.hub.urls import check_url
from zoo.records import Weights

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


def local_path(source: str, base_dir: Path) -> Path | None:
    """Return the file a `file:` or `package:` source means, or None for another source.

    Args:
        base_dir: Relative `file://` paths start here; `package:` paths in the zoo package.

    Raises:
        SourceFailed: a `package:` path leads out of the package.
    """
    scheme, _, rest = source.partition(":")
    path = Path(unquote(rest.removeprefix("//")))
    if scheme == "file":
        return base_dir / path.expanduser()
    if scheme != "package":
        return None
    inside = (PACKAGE_ROOT / path).resolve()
    if not inside.is_relative_to(PACKAGE_ROOT):
        raise SourceFailed("refused: the path leads out of the package")
    return inside


def is_remote(source: str) -> bool:
    """Return whether a source needs a socket."""
    return source.partition(":")[0] in ("hf", "http", "https")


def mirror_places(weights: Weights, sha256: str | None) -> dict[str, list[str]]:
    """Return for each mirror the places in it that may have the file; none without its SHA-256."""
    if sha256 is None:
        return {}
    names = [sha256, f"{sha256[:2]}/{sha256}", *_published_names(weights)]
    return {base: [f"{base}/{name}" for name in names] for base in mirrors()}


def opens_no_socket(place: str) -> bool:
    """Return whether a mirror is a directory of this machine."""
    return "://" not in place or place.startswith("file://")


def deliver(place: str, partial: Path, *, size_bytes: int | None, label: str, resume: bool) -> bool:
    """Complete a partial file from one place; return whether the bytes came in one piece.

    Raises:
        SourceFailed: the file did not come; the message says why.
        CacheError: the disk is full or failed.
    """
    scheme = place.partition("://")[0]
    if scheme == "hf":
        return download_from_hub(place, partial, size_bytes=size_bytes, label=label, resume=resume)
    if scheme in ("http", "https"):
        check_url(place)
        return download(place, partial, size_bytes=size_bytes, label=label, resume=resume)
    return _copy(place, partial, size_bytes, label)


def _copy(place: str, partial: Path, size_bytes: int | None, label: str) -> bool:
    import fsspec

    if "://" not in place:
        place = str(Path(place).expanduser())
        if not Path(place).is_absolute():
            raise SourceFailed("a mirror must be a URL or the absolute path of a directory")
    try:
        with cast("IO[bytes]", fsspec.open(place, "rb")) as file:
            write_body(file.read, partial, offset=0, size_bytes=size_bytes, label=label)
    except FileNotFoundError as error:
        raise Missing("no such file") from error
    except (SourceFailed, CacheError):
        raise
    except Exception as error:  # each file system of fsspec has errors of its own
        reason = " ".join(str(error).split())
        raise SourceFailed(f"cannot be read: {type(error).__name__}: {reason}") from error
    return True


def _published_names(weights: Weights) -> list[str]:
    """Return the file names in the sources of a record that are safe to look for in a mirror."""
    names = (urlsplit(source).path.rpartition("/")[2] for source in weights.sources)
    return list(dict.fromkeys(name for name in names if re.fullmatch(r"[\w-][\w.+-]*", name)))
