"""Open a checkpoint file safely: safetensors memory-mapped, legacy files without executing code."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zoo.errors import CheckpointError, CorruptCheckpoint, UnsafeCheckpoint

# Legacy files may hold tensors, containers and numbers; a few also hold numpy arrays.
_NUMPY_DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
_LARGEST_HEADER_BYTES = 100_000_000


class Checkpoint(NamedTuple):
    """What a file holds: tensors by key or a legacy object, and safetensors metadata."""

    content: Any
    metadata: dict[str, str]


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the content of a safetensors or torch file; nothing in it is ever executed.

    The kind of file is read from its first bytes, never trusted from its name.

    Raises:
        CorruptCheckpoint: empty, truncated, damaged, or not a checkpoint.
        UnsafeCheckpoint: a pickle that needs more than tensors, containers and numbers,
            or a pickle under a `.safetensors` name.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    kind = _kind_of(head)
    if path.suffix == ".safetensors" and kind in ("zip", "pickle"):
        raise UnsafeCheckpoint(
            f"{path}: named .safetensors but holds a {kind} file, which was not opened. "
            "If you trust it, give it its true name and run `zoo convert`."
        )
    if kind == "safetensors":
        return _read_safetensors(path, size_bytes)
    if kind in ("zip", "pickle"):
        return Checkpoint(_read_torch(path, kind), {})
    raise CorruptCheckpoint(
        f"{path}: not a checkpoint: {kind} ({size_bytes} bytes). Fetch it again."
    )


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; empty where it has none."""
    return _read_header(path, path.stat().st_size).get("__metadata__", {})


def _kind_of(head: bytes) -> str:
    text = head.lstrip().lower()
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
        return json.loads(raw, object_pairs_hook=lambda pairs: _unique(path, pairs))
    except ValueError as error:
        raise CorruptCheckpoint(f"{path}: damaged safetensors header: {error}") from None


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise CorruptCheckpoint(f"{path}: the safetensors header names a tensor twice")
    return unique


def _read_torch(path: Path, kind: str) -> Any:
    if kind == "zip":
        _check_zip(path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip")
    except pickle.UnpicklingError as error:
        raise UnsafeCheckpoint(
            f"{path}: reading this pickle needs more than tensors and plain containers, so it was "
            f"refused: {_first_line(error)}. Ask its publisher for safetensors."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AssertionError) as error:
        raise CorruptCheckpoint(f"{path}: damaged torch file: {_first_line(error)}") from None
    except Exception as error:  # the restricted unpickler raises whatever a damaged stream causes
        raise CorruptCheckpoint(
            f"{path}: damaged torch file: {type(error).__name__}: {_first_line(error)}"
        ) from None


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise CorruptCheckpoint(f"{path}: damaged torch file: {error}") from None
    # torch never compresses: a compressed entry is another archive or a zip bomb.
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or not any(entry.filename.endswith("/data.pkl") for entry in entries):
        reason = "compressed entries" if packed else "no data.pkl"
        raise CorruptCheckpoint(f"{path}: a zip archive that torch did not write ({reason})")


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
    lines = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line] or [
        str(error).strip().split("\n")[0]
    ]
    return lines[0][:300]
