"""Checkpoints packed in a zip archive, as pytorchcv publishes them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.user_models import build, record, write_manifest
from zoo import errors, load_searched_model, manifest
from zoo.checkpoints.read import read_checkpoint
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

TENSORS = {"layer.weight": torch.arange(12.0).reshape(3, 4)}


def torch_file(content: Any, zipped: bool = True) -> bytes:
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def packed(path: Path, **members: bytes) -> Path:
    """Write an archive; `__` in a name stands for a dot."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_the_only_member_is_read(tmp_path: Path, zipped: bool) -> None:
    """Both kinds of torch files; a digest of the unpacked file is checked."""
    content = torch_file(TENSORS, zipped)
    path = packed(tmp_path / "net.pth.zip", net__pth=content)
    sha1 = hashlib.sha1(content).hexdigest()
    for expected in (None, sha1):
        read = read_checkpoint(path, member_sha1=expected).content
        assert torch.equal(read["layer.weight"], TENSORS["layer.weight"])
    with pytest.raises(CorruptCheckpoint) as caught:
        read_checkpoint(path, member_sha1="0" * 40)
    assert f"net.pth inside the archive: SHA-1 is {sha1}, expected {'0' * 40}" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"net__pth": b"", "other__pth": b""}, "a zip archive that torch did not write"),
        ({"net__txt": b"no weights"}, "a zip archive that torch did not write"),
        ({"net__pth": b"no weights"}, "net.pth: not a torch file: an unknown kind of file"),
        ({"net__pth": b"<html>"}, "net.pth: not a torch file: an HTML page"),
        ({"net__pth": torch_file(TENSORS)[:-50]}, "net.pth: damaged torch file"),
        ({"net__pth": bytes(64_000_000)}, "64,000,000 bytes packed in "),
    ],
    ids=["two", "text", "no torch file", "page", "truncated", "bomb"],
)
def test_other_archives(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    """Nothing else is unpacked, or taken for weights; the message names the file. FAULTS 48."""
    path = packed(tmp_path / "net.pth.zip", **members)
    with pytest.raises(CorruptCheckpoint, match=reason) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_an_archive_in_an_archive(tmp_path: Path) -> None:
    """One packing is undone, not two."""
    inner = packed(tmp_path / "inner.zip", net__pth=torch_file(TENSORS)).read_bytes()
    path = packed(tmp_path / "net.pth.zip", net__pth=inner)
    with pytest.raises(CorruptCheckpoint, match="that torch did not write"):
        read_checkpoint(path)


def test_a_damaged_archive(tmp_path: Path) -> None:
    """A flipped bit shows in the archive's own checksum."""
    path = packed(tmp_path / "net.pth.zip", net__pth=torch_file(TENSORS))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match="cannot be unpacked"):
        read_checkpoint(path)


def test_a_packed_pickle_executes_nothing(tmp_path: Path) -> None:
    """The rules of torch files hold inside archives."""
    path = packed(tmp_path / "net.pth.zip", net__pth=torch_file({"net": nn.Linear(2, 2)}))
    with pytest.raises(UnsafeCheckpoint, match=r"net\.pth: reading this pickle needs more"):
        read_checkpoint(path)


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes weights known under the name `animals`."""
    monkeypatch.setattr(manifest, "_added", [])

    def add(*weights: dict[str, Any]) -> None:
        models = {"animals": record(weights=list(weights))}
        manifest.add_manifest(write_manifest(tmp_path, models))

    return add


def test_published_archives(tmp_path: Path, publish: Any) -> None:
    """A record's `member_sha1` is checked when its file is loaded."""
    network = build()
    content = torch_file(network.state_dict())
    packed(tmp_path / "net.pth.zip", net__pth=content)
    weights = {"sources": ["file://net.pth.zip"], "format": "native"}
    publish({**weights, "member_sha1": hashlib.sha1(content).hexdigest()})
    loaded = load_searched_model("animals")
    assert all(
        torch.equal(tensor, network.state_dict()[key])
        for key, tensor in loaded.state_dict().items()
    )
    publish({**weights, "member_sha1": "0" * 40})
    with pytest.raises(errors.CorruptCheckpoint, match="SHA-1 is"):
        load_searched_model("animals")


def test_settings_of_a_training(tmp_path: Path, publish: Any) -> None:
    """They shape the network for its published weights, and for no other file."""
    torch.save(build(num_classes=3).state_dict(), tmp_path / "three.pth")
    torch.save(build().state_dict(), tmp_path / "five.pth")
    publish(
        {
            "sources": ["file://three.pth"],
            "format": "native",
            "settings": {"num_classes": 3},
        },
        {"sources": ["file://five.pth"], "format": "native", "tag": "five"},
    )
    assert load_searched_model("animals").num_classes == 3
    assert load_searched_model("animals@five").num_classes == 5
    assert load_searched_model("animals", pretrained=False).num_classes == 5
    assert load_searched_model("animals", checkpoint=tmp_path / "five.pth").num_classes == 5
    by_tag = load_searched_model("animals@default", checkpoint=tmp_path / "three.pth")
    assert by_tag.num_classes == 3
