"""Files in other projects' own formats give the logits that those projects' code gives.

Every record of the shared material whose network can be built here is loaded
from its own key names; a table of all deviations is printed (`pytest -s`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.shared_material import GOLDEN, GoldenRecord, golden_records
from zoo import errors, load_checkpoint, load_searched_model
from zoo.manifest import Entry, find_entry
from zoo.networks.network import Network
from zoo.registry import SPACES, find_space
from zoo.verification import check_golden, measure_golden

TOLERANCE = 1e-4
# Records called otherwise than our models.
NAMES = {
    ("torchvision", "mobilenet_v3_large"): "mobilenetv3-large-torchvision",
    ("torchvision", "mnasnet1_0"): "mnasnet-b1-100-torchvision",
    ("timm", "semnasnet_100"): "mnasnet-a1-timm",
    ("ofa", "cpu_lat-17ms_top1-75.7_finetune-25"): "ofa-cpu-17",
    ("ofa", "pixel1_lat-20ms_top1-71.4_finetune-25"): "ofa-pixel1-20",
    ("nni", "nasbench201-cifar10-best"): "nb201-best-cifar10",
    ("nasbench201", "cifar10-best"): "nb201-best-cifar10",
}
# Families whose records say their architecture in the notation of a space.
NOTATIONS = {"nasbench201": ("NasBench201", "arch_str")}

RECORDS = golden_records()
each_record = pytest.mark.parametrize(
    "record",
    RECORDS
    or [
        pytest.param(
            None, marks=pytest.mark.skip(f"no {GOLDEN}: set ZOO_SHARED to the shared material")
        )
    ],
    ids=lambda record: f"{record.family}/{record.name}" if record else "none",
)


def entry_of(record: GoldenRecord) -> Entry | None:
    """Return the entry of the same network in the manifest, or None."""
    name = NAMES.get((record.family, record.name), record.name.replace("_", "-"))
    try:
        return find_entry(name)
    except errors.UnknownModel:
        return None


def network_of(record: GoldenRecord) -> Network:
    """Return the record's network with random weights, or skip where we have no such network."""
    entry = entry_of(record)
    if entry is not None:
        return load_searched_model(entry.name, pretrained=False)
    if record.family in NOTATIONS and NOTATIONS[record.family][0] in SPACES:
        space_name, field = NOTATIONS[record.family]
        space = find_space(space_name)()
        return space.build(space.decode(record.meta["architecture"][field]))
    return pytest.skip(f"the manifest has no model like {record.family}/{record.name}")


def deviation(network: Network, record: GoldenRecord) -> float:
    """Return the largest difference of the logits, in units of their standard deviation."""
    expected = record.logits()
    with torch.inference_mode():
        logits = network.eval()(record.images())
    assert logits.shape == expected.shape
    return ((logits - expected).abs().max() / expected.std()).item()


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Any]]:
    """Collect one line per record; print them when all are done."""
    lines: dict[str, Any] = {}
    yield lines
    print("\n\nlargest deviation / standard deviation of the logits")
    for name, (format_name, value) in sorted(lines.items()):
        print(f"  {name:44} {format_name:20} {value:.1e}")


@each_record
def test_logits(record: GoldenRecord, table: dict[str, Any], tmp_path: Path) -> None:
    """Loaded from its own key format, a network gives the logits of its authors' code."""
    network = network_of(record)
    assert sum(p.numel() for p in network.parameters()) == record.meta["params"]
    path = record.write(tmp_path)
    load_checkpoint(network, path)
    found = deviation(network, record)
    table[f"{record.family}/{record.name}"] = (network.space, found)
    assert found < TOLERANCE
    entry = entry_of(record)
    if entry is not None:
        by_name = load_searched_model(entry.name, checkpoint=path)
        assert not by_name.training
        assert deviation(by_name, record) == found


def test_enough_records_are_compared() -> None:
    """The records of the first three spaces are all here and none is skipped for its name."""
    if not RECORDS:
        pytest.skip(f"no {GOLDEN}: set ZOO_SHARED to the shared material")
    families = {"proxylessnas", "cream", "nasbench201", "mobilenetv3"}
    ours = [record for record in RECORDS if record.family in families]
    assert len(ours) >= 8
    for record in ours:
        assert entry_of(record) or record.family in NOTATIONS, record.folder


# --- the project's own golden logits ------------------------------------------------------------


def test_statistics_of_another_training_are_noticed(tmp_path: Path) -> None:
    """A file that loads without a complaint but computes something else fails. FAULTS 50."""
    torch.manual_seed(0)
    network = load_searched_model("nb201-resnet-like", pretrained=False).eval()
    golden = measure_golden(network, "0" * 64, in_chans=3, size=32)
    settings = {"in_chans": 3, "size": 32, "name": "nb201-resnet-like"}
    assert check_golden(network, golden, **settings) < 1e-5
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert norm.running_mean is not None
            norm.running_mean.add_(0.01)
    with pytest.raises(errors.VerificationError) as caught:
        check_golden(network, golden, **settings)
    text = str(caught.value)
    assert "nb201-resnet-like: the logits for the synthetic probe are off by" in text
    assert "expected " in text and "got " in text and "zoo fetch nb201-resnet-like" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers(value: float) -> None:
    """NaN is no agreement, though no comparison with it is true."""
    network = load_searched_model("nb201-idx284", pretrained=False)
    golden = measure_golden(network, "0" * 64, in_chans=3, size=32)
    torch.nn.init.constant_(network.classifier.bias, value)
    with pytest.raises(errors.VerificationError):
        check_golden(network, golden, in_chans=3, size=32, name="nb201-idx284")


def test_measuring_leaves_the_network_as_it_was() -> None:
    """Mode and statistics stay, and the record can be written as JSON."""
    network = load_searched_model("nb201-idx284", pretrained=False).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    golden = measure_golden(network, "ab" * 32, in_chans=3, size=32)
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert len(golden.logits) == 10 and golden.std > 0
    assert json.loads(msgspec.json.encode(golden))["weights_sha256"] == "ab" * 32
