"""The manifest's networks for the tests of optimising: random weights, lively statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo import load_searched_model
from zoo.manifest import find_records
from zoo.networks.network import Network

RECORDS = dict(find_records())

# The smallest images that leave something to compute at the end; others take their crop.
_SIDES = {"ENASMacro": 16, "NasBench101": 16, "NasBench201": 16, "AutoformerSpace": None}


def cheapest_of_each_space() -> list[str]:
    """Return one name per space."""
    spaces = {record.space for record in RECORDS.values()}
    return [
        min((r.macs, name) for name, r in RECORDS.items() if r.space == space)[1]
        for space in sorted(spaces)
    ]


def each_record(quick: list[str]) -> pytest.MarkDecorator:
    """Run a test for every record; those that are not `quick` are marked slow."""
    names = [
        pytest.param(name, marks=[] if name in quick else pytest.mark.slow)
        for name in sorted(RECORDS)
    ]
    return pytest.mark.parametrize("name", names)


def lively_network(name: str) -> Network:
    """Return the network of a record with random weights and norms that change their input."""
    torch.manual_seed(0)
    network = load_searched_model(name, pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shake(module)
    return network


@torch.no_grad()
def shake(norm: nn.BatchNorm2d) -> None:
    """Give a norm random statistics, scales and shifts."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_(std=0.1)
    norm.running_var.uniform_(0.5, 1.5)
    if norm.affine:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(std=0.1)


def tiny_images(name: str, batch: int = 2, seed: int = 0) -> Tensor:
    """Return random images, as small as the record's network takes them."""
    record = RECORDS[name]
    crop = record.preprocessing.crop
    side = _SIDES.get(record.space, min(crop, 64)) or crop
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, side, side, generator=generator)
