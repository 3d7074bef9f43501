"""Graph cells, shuffle networks and transformers: what a format leaves aside, cuts and tells apart.

Logits of records that have a model in the manifest are in `test_golden.py`; formats
without a record are written here from a network's own weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.shared_material import GOLDEN, GoldenRecord, shared
from tests.spaces.small import images_for, small_space
from zoo import NasBench101, errors, load_checkpoint
from zoo.checkpoints.formats import FORMATS
from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.spos import spos_names
from zoo.checkpoints.match import find_format, match_tensors
from zoo.networks.network import Network

TOLERANCE = 1e-4


def nasbench101(architecture: Mapping[str, Any]) -> Network:
    """Return the record's cell; unpruned as the record has it."""
    space = NasBench101()
    if "arch" in architecture:
        return space.build(space.from_nni(architecture["arch"]))
    return space.build(
        {"cell": {"matrix": architecture["matrix"], "operations": architecture["ops"]}}
    )


RECORDS = [
    ("nasbench101/best-mean-test", "nasbench-pytorch"),
    ("nasbench101/truncation-and-projection", "nasbench-pytorch"),
    ("nni/nasbench101-best-mean-test", "nni"),
]


@pytest.mark.parametrize(("folder", "format"), RECORDS, ids=[r[0] for r in RECORDS])
def test_logits(folder: str, format: str, tmp_path: Path) -> None:
    """Loaded from its own keys, whose format is found, a cell gives its authors' logits."""
    shared(f"golden/{folder}")
    record = GoldenRecord(GOLDEN / folder)
    network = nasbench101(record.meta["architecture"]).eval()
    assert sum(p.numel() for p in network.parameters()) == record.meta["params"]
    assert find_format(record.state_dict(), network, None, folder).name == format
    load_checkpoint(network, record.write(tmp_path))
    with torch.inference_mode():
        logits = network(record.images())
    expected = record.logits()
    assert ((logits - expected).abs().max() / expected.std()).item() < TOLERANCE


# --- formats without a record ------------------------------------------------------------------


def filled(name: str, architecture: Any = None, **settings: Any) -> Network:
    """Return a small network with random weights and statistics."""
    space = small_space(name, **settings)
    torch.manual_seed(0)
    network = space.build(architecture or space.sample(Random(4))).eval()
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if key.endswith("var") else tensor.normal_(std=0.3)
    return network


def reload(network: Network, content: dict[str, Tensor], folder: Path, format: str | None) -> None:
    """Load a file of `content` and compare every tensor."""
    path = folder / "net.pth"
    torch.save(content, path)
    space = small_space(network.space)
    fresh = space.build(network.architecture).eval()
    load_checkpoint(fresh, path, format)
    images = images_for(network.space)
    assert torch.equal(fresh(images), network(images))


@pytest.mark.parametrize("format", [None, "dsnas"])
def test_dsnas(tmp_path: Path, format: str | None) -> None:
    """A block's number is in its keys, and the search's logits are left aside."""
    network = filled("ShuffleNetSpace")
    kinds = [("k3", "k5", "k7", "xcep").index(v) for v in network.architecture.values()]
    tensors = network.state_dict()
    content = {"log_alpha": torch.randn(20, 4)}
    for key, name in spos_names(list(tensors), ()).items():
        number = re.match(r"features\.(\d+)\.", name)
        if number:
            name = name.replace(number[0], f"{number[0]}{kinds[int(number[1])]}.")
        content[name] = tensors[key]
    reload(network, content, tmp_path, format)
    # Blocks of other kinds have other tensors, and their numbers show in the message.
    other = small_space("ShuffleNetSpace").build(
        {key: "xcep" if value == "k3" else "k3" for key, value in network.architecture.items()}
    )
    with pytest.raises(errors.KeyMismatch, match=r"features\.\d+\.\d\.branch_main"):
        load_checkpoint(other, tmp_path / "net.pth")


CELL = {
    "cell": {
        "matrix": [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
        "operations": ["input", "conv3x3-bn-relu", "maxpool3x3", "output"],
    }
}


def package_content(network: Network) -> dict[str, Tensor]:
    """Return a cell network as nasbench-pytorch 1.3 keeps it."""
    tensors = network.state_dict()
    entry = FORMATS["nasbench-pytorch"]
    file_keys = [f"layers.{n}.vertex_op.1.conv3x3." for n in (1, 3, 5)]
    names = entry.names["NasBench101"](list(tensors), file_keys)
    return {names.get(key, key): tensor for key, tensor in tensors.items()}


def test_nasbench_pytorch_placeholders(tmp_path: Path) -> None:
    """Placeholders are left aside; of two names of one projection the last one counts."""
    network = filled("NasBench101", CELL)
    content = package_content(network)
    assert {k for k in content if k.startswith("layers.3.")} >= {
        "layers.3.vertex_op.1.conv3x3.conv_bn_relu.0.weight",
        "layers.3.input_op.3.conv_bn_relu.1.running_var",
    }
    reload(network, content, tmp_path, None)
    for layer in (1, 3, 5):
        content[f"layers.{layer}.dev_param"] = torch.empty(0)
        for name in ("vertex_op.0", "input_op.0", "input_op.2"):
            content[f"layers.{layer}.{name}.a"] = torch.tensor(float("nan"))
        for key in [k for k in content if k.startswith(f"layers.{layer}.input_op.3.")]:
            content[key.replace("input_op.3", "last_inop")] = content[key]
            content[key] = torch.full_like(content[key], 7)
    reload(network, content, tmp_path, None)
    content["layers.1.vertex_op.2.b"] = torch.ones(1)
    with pytest.raises(
        errors.KeyMismatch, match=r"left over in the file:\n +layers.1.vertex_op.2.b"
    ):
        reload(network, content, tmp_path, None)


def test_nni_projections_that_nothing_reads(tmp_path: Path) -> None:
    """NNI projects the input to every vertex; only those that it flows into are used."""
    network = filled("NasBench101", CELL)
    tensors = network.state_dict()
    names = FORMATS["nni"].names["NasBench101"](list(tensors), ())
    content = {names.get(key, key): tensor for key, tensor in tensors.items()}
    unused = {
        key.replace("projections.3", "projections.2"): tensor
        for key, tensor in content.items()
        if ".projections.3." in key
    }
    assert unused
    reload(network, {**content, **unused}, tmp_path, None)
    with pytest.raises(
        errors.KeyMismatch, match=r"left over in the file:\n +features.0.ops.2.weight"
    ):
        reload(network, {**content, "features.0.ops.2.weight": torch.ones(1)}, tmp_path, None)


# --- the hook ----------------------------------------------------------------------------------


def test_convert_is_of_the_space_and_before_the_comparison() -> None:
    """It sees tensors and network; what it returns is compared key by key."""
    network = filled("NasBench101", CELL)
    seen: list[Any] = []

    def halve(content: Mapping[str, Tensor], of: nn.Module) -> dict[str, Tensor]:
        seen.append(of)
        return {key: tensor[: len(tensor) // 2] for key, tensor in content.items()}

    names: Any = {"*": lambda keys, _: {key: key for key in keys}}
    doubled = {k: torch.cat((t, t)) if t.ndim else t for k, t in network.state_dict().items()}
    doubled = {k: t for k, t in doubled.items() if t.ndim}  # counters may be absent
    entry = Format("halves", "^stem", names, convert={"NasBench101": halve})
    matched = match_tensors(doubled, network, entry, "file")
    assert seen == [network]
    for key, tensor in network.state_dict().items():
        if tensor.ndim:
            assert torch.equal(matched[key], tensor)
    elsewhere = Format("halves", "^stem", names, convert={"NasBench201": halve})
    with pytest.raises(errors.KeyMismatch, match="of another shape"):
        match_tensors(doubled, network, elsewhere, "file")


def test_of_formats_that_fit_alike_the_preferred_one_is_taken() -> None:
    """And none that fits worse."""
    network = filled("AutoformerSpace")
    tensors = network.state_dict()
    names = FORMATS["autoformer"].names["AutoformerSpace"](list(tensors), ())
    content = {names[key]: tensor for key, tensor in tensors.items()}
    content["blocks.0.attn.qkv.weight"] = torch.ones(1)
    for preferred, expected in (
        ((), "autoformer"), (("prenas",), "prenas"), (("nni", "prenas"), "prenas"),
    ):  # fmt: skip
        content_only = {k: v for k, v in content.items() if ".attn.q." not in k}
        assert find_format(content_only, network, None, "file", preferred).name == expected
