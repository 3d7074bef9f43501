"""`zoo.export` and `zoo export`: no file is put in place that did not give the logits."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import zoo
from tests import user_models
from tests.optimizing.plain import LABELS, PlainNetwork, needs_onnx, needs_openvino, plain_images
from tests.optimizing.records import (
    cheapest_of_each_space,
    covering_records,
    each_record,
    lively_network,
    tiny_images,
)
from tests.spaces.small import images_for, sampled_network, small_space
from zoo import errors
from zoo.cli.main import main
from zoo.optimizing.capture import capture
from zoo.optimizing.exporting import FORMATS
from zoo.optimizing.folding import fold_batch_norm
from zoo.optimizing.proof import prove

each_format = pytest.mark.parametrize(
    "to",
    [
        pytest.param("onnx", marks=needs_onnx),
        pytest.param("openvino", marks=[needs_openvino, needs_onnx]),
        "torch-export",
    ],
)


def file_for(folder: Path, to: str) -> Path:
    return folder / f"network{FORMATS[to].suffix}"


@each_format
@torch.inference_mode()
def test_files_are_the_network(tmp_path: Path, to: str) -> None:
    """A file alone gives the logits for batches of any size; beside it stands what it needs."""
    network, path = PlainNetwork(), file_for(tmp_path, to)
    exported = zoo.export(network, path, to)
    run = FORMATS[to].open(path)
    for batch in (1, 2, 7):
        images = plain_images(batch)
        torch.testing.assert_close(run(images), network(images), rtol=0, atol=1e-5)
    described = json.loads((tmp_path / f"{path.name}.json").read_bytes())
    assert described["format"] == to and described["shape"] == [None, 3, 12, 12]
    assert described["labels"] == list(LABELS) and described["num_classes"] == 5
    assert described["preprocessing"]["crop"] == 12
    assert described["proof"]["top1_agreement"] == 1 == exported.proof.top1_agreement
    assert {path.name, f"{path.name}.json", *exported.files} == {
        file.name for file in tmp_path.iterdir()
    }
    for name, digest in exported.files.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
        assert str(Path(zoo.__file__).parent).encode() not in (tmp_path / name).read_bytes()
        assert str(Path(__file__).parent).encode() not in (tmp_path / name).read_bytes()


@each_format
@torch.inference_mode()
def test_static_batch(tmp_path: Path, to: str) -> None:
    """A file for batches of six takes those, and no others."""
    network, path = PlainNetwork(), file_for(tmp_path, to)
    exported = zoo.export(network, path, to, static_batch=6)
    assert exported.shape == (6, 3, 12, 12) and exported.proof.images == 6
    run = FORMATS[to].open(path)
    torch.testing.assert_close(run(plain_images(6)), network(plain_images(6)), rtol=0, atol=1e-5)
    with pytest.raises(Exception, match=r"(?i)shape|dimension|guard"):
        run(plain_images(5))


@needs_onnx
def test_onnx_names_and_sizes(tmp_path: Path) -> None:
    """The graph's input and output have names, and the batch is the only free size."""
    import onnx

    zoo.export(PlainNetwork(), tmp_path / "network.onnx")
    graph = onnx.load(tmp_path / "network.onnx").graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"images": ["batch", 3, 12, 12], "logits": ["batch", 5]}
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


class Forgetful(PlainNetwork):
    """A network that a graph cannot follow: the number of its calls decides."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        return super().forward(images) + self.calls


def test_a_file_that_fails_its_proof_is_not_left(tmp_path: Path) -> None:
    """Neither is the file before it touched."""
    path = tmp_path / "network.pt2"
    path.write_bytes(b"before")
    with pytest.raises(errors.VerificationError, match=r"network\.pt2 \(torch-export\) does"):
        zoo.export(Forgetful(), path, "torch-export")
    assert [file.name for file in tmp_path.iterdir()] == ["network.pt2"]
    assert path.read_bytes() == b"before"


def test_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = PlainNetwork()
    with pytest.raises(errors.InvalidArgument, match="Did you mean 'torch-export'"):
        zoo.export(network, tmp_path / "x.pt2", "torch_export")
    with pytest.raises(errors.InvalidArgument, match=r"expected a name ending in \.pt2"):
        zoo.export(network, tmp_path / "x.onnx", "torch-export")
    with pytest.raises(errors.InvalidArgument, match="static_batch=0: expected at least 1"):
        zoo.export(network, tmp_path / "x.pt2", "torch-export", static_batch=0)
    with pytest.raises(errors.InvalidArgument, match="float32 networks on the CPU"):
        zoo.export(network.double(), tmp_path / "x.pt2", "torch-export")
    (tmp_path / "file").touch()
    with pytest.raises(errors.InvalidArgument, match="cannot be written"):
        zoo.export(PlainNetwork(), tmp_path / "file" / "x.pt2", "torch-export")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(errors.OptimizationError, match=r"pip install 'searched-zoo\[onnx\]'"):
        zoo.export(network, tmp_path / "x.onnx")


# --- every network -----------------------------------------------------------------------------


@each_record(quick=cheapest_of_each_space())
def test_every_record_can_be_captured(name: str) -> None:
    """What `torch.export` captures with a free batch size gives the network's logits."""
    network, images = lively_network(name), tiny_images(name, batch=3)
    prove(network, capture(fold_batch_norm(network), images).module(), images, name)


@needs_onnx
@pytest.mark.parametrize(
    "space", ["AutoformerSpace", "DARTS", "MobileNetV3Space", "NASNet", "ShuffleNetSpace"]
)
def test_small_networks_in_onnx(space: str, tmp_path: Path) -> None:
    """Thin networks of the kinds that have operators of their own."""
    network = sampled_network(small_space(space))
    exported = zoo.export(network, tmp_path / "network.onnx", example=images_for(space))
    assert exported.shape[0] is None and exported.space == space


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", covering_records())
@pytest.mark.parametrize("static_batch", [None, 2])
def test_every_operator_in_onnx(name: str, static_batch: int | None, tmp_path: Path) -> None:
    """Records that together have every operator and switch of all records give their logits."""
    network, images = lively_network(name), tiny_images(name)
    path = tmp_path / "network.onnx"
    exported = zoo.export(network, path, example=images, static_batch=static_batch)
    assert exported.shape == (static_batch, *images.shape[1:])


# --- the command -------------------------------------------------------------------------------


def run_command(*arguments: str | Path) -> tuple[int, str]:
    result: Any = CliRunner().invoke(main, ["export", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a manifest with the model `mine`."""
    folder = tmp_path / "models"
    folder.mkdir()
    weights = user_models.write_native(folder, user_models.build())
    path = user_models.write_manifest(folder, {"mine": user_models.record(weights=[weights])})
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    monkeypatch.chdir(tmp_path)
    return folder


def test_command(mine: Path, tmp_path: Path) -> None:
    """A name gives a file of that name, with its labels beside it; it is not replaced unasked."""
    code, output = run_command("mine", "--to", "torch-export")
    assert code == 0 and "proved for any batch size" in output
    described = json.loads((tmp_path / "mine.pt2.json").read_bytes())
    assert described["labels"] == user_models.LABELS and described["space"] == "NasBench201"
    assert described["files"]["mine.pt2"] in output
    code, output = run_command("mine", "--to", "torch-export")
    assert code == 2 and "mine.pt2 exists; use --force to replace it" in output
    code, output = run_command("mine", "--to", "torch-export", "--force", "--static-batch", "3")
    assert code == 0 and "proved for batches of 3" in output


def test_command_with_a_checkpoint(mine: Path) -> None:
    """Weights from a file are those that are exported."""
    other = user_models.build(seed=1)
    user_models.write_native(mine, other, "other.safetensors")
    code, output = run_command(
        "mine", "--to", "torch-export", "--out", mine / "o.pt2", "--json",
        "--checkpoint", mine / "other.safetensors",
    )  # fmt: skip
    assert code == 0 and json.loads(output)["proof"]["top1_agreement"] == 1
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(
            FORMATS["torch-export"].open(mine / "o.pt2")(images), other(images)
        )
