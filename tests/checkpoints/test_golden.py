"""Files in other projects' own formats give the logits that those projects' code gives.

Every record of the shared material whose network can be built here is loaded
from its own key names; a table of all deviations is printed (`pytest -s`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.shared_material import GOLDEN, GoldenRecord, golden_records
from zoo import errors, load_checkpoint, load_searched_model
from zoo.manifest import Entry, find_entry
from zoo.networks.network import Network
from zoo.registry import SPACES, find_space

TOLERANCE = 1e-4
# Records called otherwise than our models.
NAMES = {
    ("darts", "darts-v2-cifar10"): "darts-v2",
    ("darts", "pdarts-cifar10"): "pdarts",
    ("nasnet", "nasnetamobile"): "nasnet-a-mobile",
    ("nasbench101", "best-mean-test"): "nb101-best-mean-test",
    ("nni", "nasbench101-best-mean-test"): "nb101-best-mean-test",
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
        expected = network.state_dict()
        for key, tensor in by_name.state_dict().items():
            assert torch.equal(tensor, expected[key]), key


def test_enough_records_are_compared() -> None:
    """The records of the first three spaces are all here and none is skipped for its name."""
    if not RECORDS:
        pytest.skip(f"no {GOLDEN}: set ZOO_SHARED to the shared material")
    families = {"proxylessnas", "cream", "nasbench201", "mobilenetv3"}
    ours = [record for record in RECORDS if record.family in families]
    assert len(ours) >= 8
    for record in ours:
        assert entry_of(record) or record.family in NOTATIONS, record.folder
