"""Opening a file: what is read, and what is refused without being opened or executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from zoo.checkpoints.read import read_checkpoint, read_metadata
from zoo.errors import CheckpointError, CorruptCheckpoint, UnsafeCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.count": torch.tensor(7)}


def safetensors_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file from its parts, however wrong they are."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: object, begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    """Return the header's entry of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


# --- what is read ------------------------------------------------------------------------------


def test_safetensors(tmp_path: Path) -> None:
    """Tensors and metadata of a safetensors file, whatever it is called."""
    for name in ("net.safetensors", "net.pth", "net"):
        path = tmp_path / name
        save_file(TENSORS, path, metadata={"made by": "a test"})
        content, metadata = read_checkpoint(path)
        assert content.keys() == TENSORS.keys()
        assert all(torch.equal(content[key], value) for key, value in TENSORS.items())
        assert metadata == read_metadata(path) == {"made by": "a test"}


def test_safetensors_are_mapped_and_never_written(tmp_path: Path) -> None:
    """The tensors are views of the file; changing one changes neither the file nor another view."""
    path = tmp_path / "net.safetensors"
    save_file({"w": torch.ones(1_000_000)}, path)
    before = path.read_bytes()
    one, other = read_checkpoint(path).content["w"], read_checkpoint(path).content["w"]
    assert str(path) in Path("/proc/self/maps").read_text() or sys.platform != "linux"
    one.mul_(5.0)
    assert torch.equal(other, torch.ones(1_000_000))
    assert path.read_bytes() == before


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.bin", "net.pkl", "net.pth.tar", "net"])
def test_torch_files(tmp_path: Path, name: str, zipped: bool) -> None:
    """Both of torch's own formats, with the containers that training scripts put around."""
    content = {
        "state_dict": OrderedDict(TENSORS),
        "epoch": 3,
        "best": 71.5,
        "arch": "tiny",
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": torch.Size([3]),
    }
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    read, metadata = read_checkpoint(tmp_path / name)
    assert metadata == {}
    assert read.keys() == content.keys()
    assert torch.equal(read["state_dict"]["a.weight"], TENSORS["a.weight"])


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_arrays(tmp_path: Path, module: str) -> None:
    """Arrays and scalars of numpy, as old and new numpy write them."""
    arrays = {
        "int8": np.arange(6, dtype=np.int8).reshape(2, 3),
        "float": np.ones(3, dtype=np.float64),
        "scalar": np.float32(2.5),
    }
    path = tmp_path / "net.pkl"
    torch.save(arrays, path, _use_new_zipfile_serialization=False)
    written = "numpy._core.multiarray" if b"numpy._core.m" in path.read_bytes() else (
        "numpy.core.multiarray"
    )  # fmt: skip
    path.write_bytes(path.read_bytes().replace(f"c{written}\n".encode(), f"c{module}\n".encode()))
    read = read_checkpoint(path).content
    assert read["scalar"] == 2.5
    assert np.array_equal(read["int8"], arrays["int8"])


def test_torch_zips_are_mapped(tmp_path: Path) -> None:
    """A torch file is not copied into memory either, and not written to."""
    path = tmp_path / "net.pth"
    torch.save({"w": torch.ones(1_000_000)}, path)
    before = path.read_bytes()
    tensor = read_checkpoint(path).content["w"]
    tensor.mul_(3.0)
    assert path.read_bytes() == before


# --- what is damaged ---------------------------------------------------------------------------

W = entry([2], 0, 8)
DATA = b"\0" * 8
DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "one byte": (b"x", "an unknown kind of file"),
    "7 bytes": (b"\x10\0\0\0\0\0\0", "an unknown kind of file"),
    "8 bytes": (b"\x10\0\0\0\0\0\0\0", "an unknown kind of file"),
    "header of 0 bytes": (safetensors_file({"w": W}, DATA, 0), "a header of 0 bytes"),
    "header of 2^63": (safetensors_file({"w": W}, DATA, 2**63), "a header of 9223372036854775808"),
    "header of 2^64 - 1": (safetensors_file({"w": W}, DATA, 2**64 - 1), "a header of 18446744073"),
    "header beyond the file": (safetensors_file({"w": W}, DATA, 1000), "a header of 1000 bytes"),
    "header beyond 100 MB": (safetensors_file({"w": W}, DATA, 2 * 10**8), "a header of 200000000"),
    "header cut": (safetensors_file({"w": W}, b"", 20), "damaged safetensors header"),
    "not UTF-8": (safetensors_file(b'{"\xff\xfe":1}' + b" " * 9), "damaged safetensors header"),
    "not JSON": (safetensors_file(b"{this is not json}"), "damaged safetensors header"),
    "deep JSON": (safetensors_file(b'{"a":' + b"[" * 200_000), "damaged safetensors header"),
    "JSON and more": (safetensors_file(b'{"a":1}{"b":2}'), "damaged safetensors header"),
    "no dictionary of tensors": (safetensors_file({"w": 3}), "damaged safetensors file"),
    "overlap": (
        safetensors_file({"v": entry([2], 0, 8), "w": entry([2], 4, 12)}, b"\0" * 12),
        "damaged safetensors file",
    ),
    "hole": (
        safetensors_file({"v": entry([2], 0, 8), "w": entry([2], 12, 20)}, b"\0" * 20),
        "damaged safetensors file",
    ),
    "trailing bytes": (safetensors_file({"w": W}, DATA + b"PK\x03\x04"), "damaged safetensors"),
    "data cut": (safetensors_file({"w": W}, DATA[:-1]), "damaged safetensors file"),
    "offset beyond the file": (safetensors_file({"w": entry([2], 8, 16)}, DATA), "damaged safe"),
    "offsets reversed": (safetensors_file({"w": entry([2], 8, 0)}, DATA), "damaged safetensors"),
    "shape of other size": (safetensors_file({"w": entry([3], 0, 8)}, DATA), "damaged safetens"),
    "shape overflows": (safetensors_file({"w": entry([2**62, 8], 0, 8)}, DATA), "damaged safet"),
    "negative shape": (safetensors_file({"w": entry([-2], 0, 8)}, DATA), "damaged safetensors"),
    "fractional shape": (safetensors_file({"w": entry([2.5], 0, 8)}, DATA), "damaged safetens"),
    "unknown type": (safetensors_file({"w": entry([2], 0, 8, "F33")}, DATA), "damaged safetens"),
    "metadata no texts": (safetensors_file({"__metadata__": {"a": 1}, "w": W}, DATA), "damaged"),
    "key twice": (
        safetensors_file(
            b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            DATA,
        ),
        "names 'w' twice",
    ),
    "HTML page": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "an HTML page"),
    "HTML after blanks": (b"\n\n  <HTML>\n<head>", "an HTML page"),
    "HTML with a mark": (b"\xef\xbb\xbf<!doctype html>", "an HTML page"),
    "XML error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML docu"),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n",
        "a Git LFS pointer",
    ),
    "JSON error": (b'{"error": "Repository not found"}', "an unknown kind of file"),
    "zeros": (b"\0" * 4096, "an unknown kind of file"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 100, "an unknown kind of file"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGED))
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged(tmp_path: Path, damage: str, suffix: str) -> None:
    """Each damage has its own reason, and the message names the file. FAULTS 16, 17, 41, 42, 43."""
    content, reason = DAMAGED[damage]
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("damage", ["7 bytes", "header of 2^63", "not JSON", "deep JSON", "empty"])
def test_metadata_of_a_damaged_file(tmp_path: Path, damage: str) -> None:
    """`read_metadata` fails the same way."""
    (tmp_path / "net").write_bytes(DAMAGED[damage][0])
    with pytest.raises(CorruptCheckpoint, match="net"):
        read_metadata(tmp_path / "net")


def torch_file(zipped: bool = True) -> bytes:
    """Return a small torch file."""
    buffer = io.BytesIO()
    torch.save({"state_dict": TENSORS}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "safetensors": lambda: save(TENSORS, metadata={"a": "b"}),
    "zip": torch_file,
    "pickle": lambda: torch_file(zipped=False),
}


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_truncated_anywhere(tmp_path: Path, kind: str) -> None:
    """A file cut at any place is refused as damaged. FAULTS 41."""
    whole, path = WHOLE[kind](), tmp_path / "net"
    for size in sorted({*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"net: (damaged|not a checkpoint|reading)") as e:
            read_checkpoint(path)
        # A pickle that ends inside the name of a type asks for a type that is not allowed.
        assert isinstance(e.value, CorruptCheckpoint) or kind == "pickle"


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_mutated_anywhere(tmp_path: Path, kind: str) -> None:
    """Whatever bytes change, a file is read or refused: nothing else happens."""
    whole, path, rng = WHOLE[kind](), tmp_path / "net", random.Random(0)
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            assert str(path) in str(error)


def test_compressed_zip(tmp_path: Path) -> None:
    """torch never compresses: a compressed archive is none of its files. FAULTS 48."""
    path, source = tmp_path / "net.pth", zipfile.ZipFile(io.BytesIO(torch_file()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    with pytest.raises(CorruptCheckpoint, match=r"that torch did not write .compressed entries"):
        read_checkpoint(path)


def test_bomb(tmp_path: Path) -> None:
    """An archive of zeros that would fill the memory is not unpacked. FAULTS 48."""
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", b"\0" * 64_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(CorruptCheckpoint, match="compressed entries"):
        read_checkpoint(path)


def test_other_archives(tmp_path: Path) -> None:
    """A zip without a pickle, and a tar, are no checkpoints."""
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("cat.jpg", b"\xff\xd8")
    with pytest.raises(CorruptCheckpoint, match=r"no data.pkl"):
        read_checkpoint(tmp_path / "images.zip")
    with tarfile.open(tmp_path / "net.pth.tar", "w") as archive:
        archive.add(tmp_path / "images.zip")
    with pytest.raises(CorruptCheckpoint, match="not a checkpoint"):
        read_checkpoint(tmp_path / "net.pth.tar")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe: an error at once that names it. FAULTS 25."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("missing", ".", "pipe", "loop", "dangling"):
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        with pytest.raises(CheckpointError):
            read_metadata(tmp_path / name)


# --- what would execute code -------------------------------------------------------------------


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


MALICIOUS: dict[str, Callable[[Any, Path], None]] = {
    "torch zip": lambda bomb, path: torch.save(bomb, path),
    "old torch file": lambda bomb, path: torch.save(
        bomb, path, _use_new_zipfile_serialization=False
    ),
    "plain pickle": lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=2)),
    "new pickle": lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=5)),
    "oldest pickle": lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=0)),
}


@pytest.mark.parametrize("kind", sorted(MALICIOUS))
@pytest.mark.parametrize("name", ["net.safetensors", "net.pth", "pytorch_model.bin", "net"])
def test_malicious_pickle(tmp_path: Path, kind: str, name: str) -> None:
    """A pickle that would run a command does not, whatever it is called. FAULTS 47."""
    proof, path = tmp_path / "executed", tmp_path / name
    MALICIOUS[kind]({"state_dict": {"w": torch.ones(2)}, "x": Bomb(proof)}, path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert not proof.exists()
    assert str(path) in str(caught.value)
    if kind != "oldest pickle":  # which no torch file is, so it is not even tried
        assert isinstance(caught.value, UnsafeCheckpoint)
    assert "add_safe_globals" not in str(caught.value)  # torch's advice would let it run
    witness = tmp_path / "witness.pth"
    MALICIOUS[kind](Bomb(proof), witness)
    open_unsafely(kind, witness)
    assert proof.exists()  # so the file above was what its name says


def open_unsafely(kind: str, path: Path) -> Any:
    """Open a file the way this project never does."""
    if "torch" in kind:
        return torch.load(path, weights_only=False)
    return pickle.loads(path.read_bytes())


def test_refusal_names_what_it_needs(tmp_path: Path) -> None:
    """The message names the global that the pickle asked for, and the way out."""
    torch.save({"state_dict": {}, "args": Bomb(tmp_path / "x")}, tmp_path / "net.pth")
    with pytest.raises(UnsafeCheckpoint, match=r"posix\.mkdir|os\.mkdir|nt\.mkdir") as caught:
        read_checkpoint(tmp_path / "net.pth")
    assert "safetensors" in str(caught.value)
    with pytest.raises(UnsafeCheckpoint, match=r"named \.safetensors but holds a zip file"):
        read_checkpoint((tmp_path / "net.pth").rename(tmp_path / "net.safetensors"))


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    """A whole network, as some authors publish it, would import its class."""
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(UnsafeCheckpoint, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(tmp_path / "net.pth")


def test_reading_changes_no_setting(tmp_path: Path) -> None:
    """What may be unpickled afterwards elsewhere in the process is what might be before."""
    before = set(torch.serialization.get_safe_globals())
    torch.save(TENSORS, tmp_path / "net.pth")
    read_checkpoint(tmp_path / "net.pth")
    assert set(torch.serialization.get_safe_globals()) == before
