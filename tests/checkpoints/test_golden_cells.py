"""Files of the DARTS family, NASNet and PNASNet: keys, auxiliary heads, and the authors' logits."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.shared_material import GoldenRecord, golden_records
from zoo.checkpoints.formats import FORMATS
from zoo.checkpoints.load import load_checkpoint, save_checkpoint
from zoo.errors import KeyMismatch
from zoo.layers.empty import EmptyParameters
from zoo.manifest import find_entry, read_architecture
from zoo.networks.cells import CellNetwork
from zoo.registry import find_space
from zoo.spaces.darts import DARTS
from zoo.spaces.nasnet import NASNet

TOLERANCE = 1e-4
LARGE = ("nasnetalarge", "pnasnet5large")
MODEL_OF = {
    "darts/darts-v2-cifar10": "darts-v2",
    "darts/darts-v2-imagenet": "darts-v2-imagenet",
    "darts/pcdarts-imagenet": "pcdarts-imagenet",
    "darts/pdarts-cifar10": "pdarts",
    "nasnet/nasnetalarge": "nasnet-a-large",
    "nasnet/nasnetamobile": "nasnet-a-mobile",
    "nasnet/pnasnet5large": "pnasnet-5-large",
    "nni/darts-v2": "darts-v2",
}


def cell_records() -> list[Any]:
    """Return the records of cell networks; the two large ones are slow."""
    return [
        pytest.param(
            record,
            id=f"{record.family}/{record.name}",
            marks=[pytest.mark.slow] if record.name in LARGE else [],
        )
        for record in golden_records()
        if record.family in ("darts", "nasnet") or "/darts" in f"{record.family}/{record.name}"
    ]


def network_of(name: str) -> CellNetwork:
    """Return the network of a manifest record, without memory for its weights."""
    entry = find_entry(name)
    with EmptyParameters():
        space = find_space(entry.record.space).from_settings(entry.record.settings)
        network = space.build(read_architecture(entry))
    assert isinstance(network, CellNetwork)
    return network


def network_from_meta(record: GoldenRecord) -> CellNetwork | None:
    """Return the network that a record's own facts describe, where they describe one."""
    meta = record.meta
    facts, constructor = meta["architecture"], meta["constructor"]
    if "arch" in facts:
        space = DARTS(width=facts["init_kwargs"]["width"])
        architecture = space.from_nni(facts["arch"])
    elif "genotype" in facts:
        space = DARTS(
            width=constructor["C"],
            num_cells=constructor["layers"],
            num_classes=meta["num_classes"],
            dataset="cifar" if meta["resolution"] == 32 else "imagenet",
        )
        fields = (
            f"{key}={[tuple(entry) if isinstance(entry, list) else entry for entry in value]}"
            for key, value in facts["genotype"].items()
        )
        architecture = space.decode(f"Genotype({', '.join(fields)})")
    else:
        return None
    with EmptyParameters():
        return space.build(architecture)  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("record", cell_records())
def test_golden_logits(record: GoldenRecord, tmp_path: Path) -> None:
    """A file in the authors' format, loaded without naming the format, gives their logits."""
    network = network_of(MODEL_OF[f"{record.family}/{record.name}"])
    described = network_from_meta(record)
    if described is not None:
        assert described.architecture_hash == network.architecture_hash
    load_checkpoint(network, record.write(tmp_path))
    network.eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == record.meta["params"]
    expected = record.logits()
    with torch.inference_mode():
        deviation = (network(record.images()) - expected).abs().max() / expected.std()
    assert deviation < TOLERANCE


# --- the same network in several formats -------------------------------------------------------


def small_darts(**settings: Any) -> CellNetwork:
    """Return a thin network of random weights; its cells hold every kind of operator."""
    space = DARTS(
        **{
            "width": 4,
            "num_cells": 3,
            "operators": (*DARTS().operators, "conv_7x1_1x7", "conv_1x1"),
            **settings,
        }
    )
    torch.manual_seed(0)
    network = space.build(space.sample(Random(4)))
    assert isinstance(network, CellNetwork)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def darts_name(key: str) -> str:
    """Return the authors' name of a native key of a three-cell CIFAR network, rule by rule."""
    rules = [
        (r"^stem\.conv", "stem.0"),
        (r"^stem\.bn", "stem.1"),
        (r"^stages\.(\d)\.0", r"cells.\1"),
        (r"(preprocess\d)\.conv\.", r"\1.op.1."),
        (r"^(cells\.2\.preprocess0)\.bn\.", r"\1.bn."),  # behind a reducing cell
        (r"(cells\.[01]\.preprocess\d|cells\.2\.preprocess1)\.bn\.", r"\1.op.2."),
        (r"ops\.(\d)\.0\.depthwise", r"_ops.\1.op.1"),
        (r"ops\.(\d)\.0\.pointwise", r"_ops.\1.op.2"),
        (r"ops\.(\d)\.0\.bn", r"_ops.\1.op.3"),
        (r"ops\.(\d)\.1\.depthwise", r"_ops.\1.op.5"),
        (r"ops\.(\d)\.1\.pointwise", r"_ops.\1.op.6"),
        (r"ops\.(\d)\.1\.bn", r"_ops.\1.op.7"),
    ]
    for pattern, template in rules:
        key = re.sub(pattern, template, key)
    return key


def test_darts_names_rule_by_rule(tmp_path: Path) -> None:
    """A file whose keys were written by other rules than the format's fits."""
    network = small_darts(operators=("sep_conv_3x3", "max_pool_3x3"), merge="all")
    renamed = {darts_name(key): value for key, value in network.state_dict().items()}
    assert "cells.0._ops.0.op.1.weight" in renamed or "cells.0._ops.1.op.1.weight" in renamed
    check_same(network, renamed, tmp_path)


def test_files_before_batch_counters_and_from_data_parallel(tmp_path: Path) -> None:
    """PyTorch 0.3 wrote no counters; DataParallel writes a prefix."""
    network = small_darts()
    old = {
        f"module.{key}": value
        for key, value in in_format(network, "darts").items()
        if not key.endswith("num_batches_tracked")
    }
    check_same(network, {"state_dict": old, "epoch": 3}, tmp_path)


@pytest.mark.parametrize("name", ["darts", "nni"])
@pytest.mark.parametrize("settings", [{}, {"dataset": "imagenet"}], ids=["cifar", "imagenet"])
def test_formats_carry_every_operator(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Separable, dilated, factorized and plain convolutions come back from both formats."""
    network = small_darts(**settings)
    check_same(network, in_format(network, name), tmp_path)


def test_nni_files_with_drop_path(tmp_path: Path) -> None:
    """NNI wraps every operator once more when it trains with drop path."""
    network = small_darts()
    wrapped = {
        re.sub(r"(\.ops\.\d\.\d)\.", r"\1.0.", key): value
        for key, value in in_format(network, "nni").items()
    }
    assert any(".0.conv_1." in key for key in wrapped)
    check_same(network, wrapped, tmp_path)


def mmrazor_name(key: str, architecture: dict[str, Any]) -> str:
    """Return MMRazor's name of a native key of a three-cell network, from its architecture."""
    stem = re.fullmatch(r"stem\.(conv|bn)\.(\w+)", key)
    if stem:
        return f"architecture.backbone.stem.{('conv', 'bn').index(stem[1])}.{stem[2]}"
    if key.startswith("classifier"):
        return key.replace("classifier", "architecture.head.fc")
    inside = re.fullmatch(r"stages\.(\d)\.0\.(preprocess|ops\.)(\d)\.(.+)\.(\w+)", key)
    assert inside, key
    stage, part, number, module, leaf = inside.groups()
    place = f"architecture.backbone.cells.{stage}"
    if part == "preprocess":
        halves = (stage, number) == ("2", "0")
        module = module.replace("_", "") if halves else {"conv": "net.1", "bn": "net.2"}[module]
        return f"{place}.preproc{number}.{module}.{leaf}"
    kind, node, edge = "normal" if stage == "0" else "reduce", int(number) // 2, int(number) % 2
    operator = architecture[f"{kind}/op_{node + 2}_{edge}"]
    source = architecture[f"{kind}/input_{node + 2}_{edge}"]
    places = {"depthwise": 1, "pointwise": 2, "bn": 3}
    if operator.startswith("sep_conv"):
        half, _, name = module.partition(".")
        module = f"conv{int(half) + 1}.{places[name]}"
    elif operator.startswith("dil_conv"):
        module = f"conv1.{places[module]}"
    choice = f"{kind}_n{node + 2}_p{source}.0.choices.{operator}"
    return f"{place}.nodes.{node}.edges.choices.{choice}.{module.replace('_', '')}.{leaf}"


def test_mmrazor_files(tmp_path: Path) -> None:
    """Edges are named by operator and source; a BatchNorm stands behind every pooling."""
    space = DARTS(width=4, num_cells=3, pool_norm=True)
    architecture = {
        name: int(name[-1]) if "/input_" in name else "skip_connect" for name in space.choices()
    }
    architecture |= {"normal/op_2_0": "sep_conv_3x3", "normal/op_2_1": "max_pool_3x3"}
    architecture |= {"normal/op_3_1": "sep_conv_5x5", "normal/input_3_1": 2}
    architecture |= {"reduce/op_3_0": "dil_conv_5x5", "reduce/op_5_1": "avg_pool_3x3"}
    network = space.build(architecture).eval()
    assert isinstance(network, CellNetwork)
    content = {mmrazor_name(k, architecture): value for k, value in network.state_dict().items()}
    edge = "architecture.backbone.cells.0.nodes.0.edges.choices.normal_n2_p1.0.choices.max_pool_3x3"
    assert f"{edge}.bn.weight" in content
    content["architecture.head.aux_linear.weight"] = torch.zeros(10, 768)
    content["architecture.backbone.auxliary_module.net.2.weight"] = torch.zeros(128, 64, 1, 1)
    check_same(network, {"state_dict": content, "meta": {"epoch": 600}}, tmp_path)


def test_a_file_of_another_depth(tmp_path: Path) -> None:
    """Cells that are missing or left over are listed by the file's names."""
    content = in_format(small_darts(), "darts")
    other = small_darts(num_cells=4)
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(KeyMismatch, match=r"missing from the file:\n    cells\.3"):
        load_checkpoint(other, tmp_path / "file.pth")


# --- auxiliary heads ---------------------------------------------------------------------------


def test_auxiliary_head_is_set_aside_or_loaded(tmp_path: Path) -> None:
    """The published head goes into an attached one; without one it is left out, in any format."""
    network = small_darts()
    network.attach_auxiliary_head()
    network.eval()
    content = in_format(network, "darts")
    assert "auxiliary_head.classifier.weight" in content
    plain = small_darts()
    nn.init.zeros_(next(plain.parameters()))
    check_same(network, content, tmp_path, into=plain)
    again = small_darts()
    again.attach_auxiliary_head()
    check_same(network, content, tmp_path, into=again)
    assert torch.equal(
        again.state_dict()["auxiliary.classifier.weight"],
        network.state_dict()["auxiliary.classifier.weight"],
    )
    save_checkpoint(network, tmp_path / "native.safetensors", {})
    load_checkpoint(small_darts(), tmp_path / "native.safetensors")
    content["auxiliary_head.classifier.scale"] = torch.zeros(1)
    content["auxiliary_tower.weight"] = torch.zeros(1)
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(KeyMismatch, match=r"left over in the file:\n    auxiliary_tower\.weight"):
        load_checkpoint(small_darts(), tmp_path / "odd.pth")


# --- NASNet ------------------------------------------------------------------------------------


def test_nasnet_files_with_a_background_class(tmp_path: Path) -> None:
    """Cadene's large files have 1001 classes; the first one goes."""
    space = NASNet(
        width=8, num_cells=3, dataset="imagenet", skeleton="nasnet", num_classes=1000,
        operators=("sep_conv_3x3", "skip_connect", "avg_pool_3x3"),
    )  # fmt: skip
    network = space.build(space.sample(Random(0))).eval()
    assert isinstance(network, CellNetwork)
    content = in_format(network, "nasnet")
    assert "cell_stem_1.path_1.conv.weight" in content and "conv0.conv.weight" in content
    background = {
        key: torch.cat([torch.full_like(value[:1], 9.0), value]) if "last_linear" in key else value
        for key, value in content.items()
    }
    check_same(network, background, tmp_path)


def in_format(network: CellNetwork, name: str) -> dict[str, Tensor]:
    """Return the network's tensors under a format's keys, by the rules of the format itself."""
    names_for = FORMATS[name].names_for(network.space)
    assert names_for is not None
    # A hint which of the published spellings to use, as a file would give it.
    hints = [f"cell_{number}." for number in range(20)] + ["reduction_cell_0."]
    names = names_for(list(network.state_dict()), hints)
    return {names[key]: value for key, value in network.state_dict().items()}


def check_same(
    network: CellNetwork, content: Any, folder: Path, into: CellNetwork | None = None
) -> None:
    """Load `content` into a network with other weights; the logits are those of `network`."""
    target = into or copy.deepcopy(network)
    if into is None:
        for parameter in target.parameters():
            nn.init.zeros_(parameter)
    torch.save(content, folder / "file.pth")
    load_checkpoint(target, folder / "file.pth")
    images = torch.randn(2, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(target.eval()(images), network(images))
