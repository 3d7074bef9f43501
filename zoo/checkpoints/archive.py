"""A zip archive around one checkpoint file, as some publishers pack theirs."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path

from zoo.errors import CorruptCheckpoint

# Endings of torch files; any other archive is not a packed checkpoint.
MEMBER_SUFFIXES = (".pth", ".pt", ".pth.tar")
# Weights hardly compress: what grows more than this when unpacked is no checkpoint.
LARGEST_GROWTH = 20
LARGEST_BYTES = 1 << 33


def find_member(path: Path) -> str | None:
    """Return the name of the only file in a zip archive if it is called a torch file, or None.

    A file that torch wrote is a zip archive too; it has several entries and none of these names.

    Raises:
        CorruptCheckpoint: the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CorruptCheckpoint(f"{path}: damaged torch file: {error}") from None
    return names[0] if len(names) == 1 and names[0].endswith(MEMBER_SUFFIXES) else None


def read_member(path: Path, name: str, sha1: str | None = None) -> io.BytesIO:
    """Return the unpacked content of one file of an archive, in memory.

    Args:
        sha1: The SHA-1 its publisher gives for the unpacked file; None where there is none.

    Raises:
        CorruptCheckpoint: damaged, larger than weights can be, or not the published content.
    """
    where = f"{path}: {name} inside the archive"
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(name)
            limit = min(LARGEST_BYTES, LARGEST_GROWTH * max(entry.compress_size, 1 << 20))
            if entry.file_size > limit:
                raise CorruptCheckpoint(
                    f"{where}: {entry.file_size:,} bytes packed in {entry.compress_size:,}: "
                    f"expected at most {limit:,}"
                )
            content = archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError) as error:
        raise CorruptCheckpoint(f"{where}: cannot be unpacked: {error}") from None
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if sha1 not in (None, digest):
        raise CorruptCheckpoint(f"{where}: SHA-1 is {digest}, expected {sha1}. Fetch it again.")
    return io.BytesIO(content)
