"""Open a checkpoint file safely: safetensors memory-mapped, legacy files without executing code."""

from __future__ import annotations

import io
import json
import pickle
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zoo.checkpoints.archive import find_member, read_member
from zoo.errors import CheckpointError, CorruptCheckpoint, UnsafeCheckpoint

# Legacy files may hold tensors, containers and numbers; a few also hold numpy arrays.
_NUMPY_DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
_LARGEST_HEADER_BYTES = 100_000_000


class Checkpoint(NamedTuple):
    """What a file holds: tensors by key or a legacy object, and safetensors metadata."""

    content: Any
    metadata: dict[str, str]


def read_checkpoint(path: Path, *, member_sha1: str | None = None) -> Checkpoint:
    """Return the content of a safetensors or torch file; nothing in it is ever executed.

    The kind of file is read from its first bytes, never trusted from its name. A zip
    archive around one torch file is unpacked.

    Args:
        member_sha1: What the SHA-1 of the unpacked file must be, where it is packed.

    Raises:
        CorruptCheckpoint: empty, truncated, damaged, or not a checkpoint.
        UnsafeCheckpoint: a pickle that needs more than tensors, containers and numbers,
            or a pickle under a `.safetensors` name.
    """
    head, size_bytes = _read_head(path)
    kind = _kind_of(head)
    if path.suffix == ".safetensors" and kind in ("zip", "pickle"):
        raise UnsafeCheckpoint(
            f"{path}: named .safetensors but holds a {kind} file, which was not opened. "
            "If you trust it, give it its true name and run `zoo convert`."
        )
    if kind == "zip" and (member := find_member(path)):
        unpacked = read_member(path, member, member_sha1)
        inner = _kind_of(bytes(unpacked.getbuffer()[:512]))
        return Checkpoint(_read_torch(unpacked, inner, f"{path}: {member}"), {})
    if member_sha1 is not None:
        raise CorruptCheckpoint(
            f"{path}: expected a zip archive around one torch file, got {kind} "
            f"({size_bytes} bytes). Fetch it again."
        )
    if kind == "safetensors":
        return _read_safetensors(path, size_bytes)
    if kind in ("zip", "pickle"):
        return Checkpoint(_read_torch(path, kind, str(path)), {})
    raise CorruptCheckpoint(
        f"{path}: not a checkpoint: {kind} ({size_bytes} bytes). Fetch it again."
    )


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; empty where it has none.

    Raises:
        CorruptCheckpoint: the file is no safetensors file.
    """
    _, size_bytes = _read_head(path)
    return _read_header(path, size_bytes).get("__metadata__", {})


def _read_head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a file and its size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise CheckpointError(f"{path}: cannot be read: not a regular file")
        with open(path, "rb") as file:
            return file.read(512), status.st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None


def _kind_of(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    if text.startswith(b"<?xml"):
        return "an XML document"
    if len(head) > 8 and head[8:9] == b"{":
        return "safetensors"
    return "an unknown kind of file"


def _read_safetensors(path: Path, size_bytes: int) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    header = _read_header(path, size_bytes)
    try:
        with safe_open(path, framework="pt") as file:
            # The tensors are views of the memory-mapped file: nothing is copied here.
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CorruptCheckpoint(f"{path}: damaged safetensors file: {error}") from None
    return Checkpoint(tensors, header.get("__metadata__", {}))


def _read_header(path: Path, size_bytes: int) -> dict[str, Any]:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if not 2 <= length <= min(size_bytes - 8, _LARGEST_HEADER_BYTES):
            raise CorruptCheckpoint(
                f"{path}: damaged safetensors file: a header of {length} bytes "
                f"in a file of {size_bytes} bytes"
            )
        raw = file.read(length)
    try:
        # safetensors itself lets the last of two equal keys win.
        header = json.loads(raw, object_pairs_hook=lambda pairs: _unique(path, pairs))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"{path}: damaged safetensors header: {error}") from None
    if not isinstance(header, dict):
        raise CorruptCheckpoint(f"{path}: damaged safetensors header: no dictionary")
    return header


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise CorruptCheckpoint(f"{path}: the safetensors header names {name!r} twice")
        unique[name] = value
    return unique


def _read_torch(file: Path | io.BytesIO, kind: str, where: str) -> Any:
    if kind == "zip":
        _check_zip(file, where)
    elif kind != "pickle":
        raise CorruptCheckpoint(f"{where}: not a torch file: {kind}")
    mapped = kind == "zip" and isinstance(file, Path)
    if isinstance(file, io.BytesIO):
        file.seek(0)  # looking into the archive moved it
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        needed = found[1] if found else _first_line(error).rstrip(".")
        raise UnsafeCheckpoint(
            f"{where}: reading this pickle needs more than tensors and plain containers, so it was "
            f"refused: {needed}. Ask its publisher for safetensors, or for the state_dict alone."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AssertionError) as error:
        raise CorruptCheckpoint(f"{where}: damaged torch file: {_first_line(error)}") from None
    except Exception as error:  # the restricted unpickler raises whatever a damaged stream causes
        raise CorruptCheckpoint(
            f"{where}: damaged torch file: {type(error).__name__}: {_first_line(error)}"
        ) from None


def _check_zip(file: Path | io.BytesIO, where: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CorruptCheckpoint(f"{where}: damaged torch file: {error}") from None
    # torch never compresses: a compressed entry is another archive or a zip bomb.
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or not any(entry.filename.endswith("/data.pkl") for entry in entries):
        reason = "compressed entries" if packed else "no data.pkl"
        raise CorruptCheckpoint(f"{where}: a zip archive that torch did not write ({reason})")


def _numpy_globals() -> list[Any]:
    import numpy as np

    rebuild = np.empty(0).__reduce__()[0]
    scalar = np.float32(0).__reduce__()[0]
    # Files carry the module name of the numpy that wrote them, before and after numpy 2.
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return [
        np.ndarray,
        np.dtype,
        *(type(np.dtype(name)) for name in _NUMPY_DTYPES),
        *((rebuild, f"{module}._reconstruct") for module in modules),
        *((scalar, f"{module}.scalar") for module in modules),
    ]


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
