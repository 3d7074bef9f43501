"""The manifest's networks for the tests of optimising: random weights, lively statistics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from zoo import load_searched_model
from zoo.manifest import find_entry, find_records, read_architecture
from zoo.networks.batch_norm import recalibrate
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
    """Return the network of a record with random weights and norms that change their input.

    Statistics are near those of random images: others let a deep network amplify rounding until
    no two ways of computing agree.
    """
    torch.manual_seed(0)
    network = load_searched_model(name, pretrained=False).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        shake(norm)
    if norms:
        recalibrate(network, [tiny_images(name, batch=8, seed=3)])
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean)
        # No channel without variation is blown up.
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.5)
        norm.running_var += 0.1
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


def covering_records() -> list[str]:
    """Return few, cheap records whose choices and settings together have all values there are."""
    values = {name: _values_of(name) for name in RECORDS}
    missing = set().union(*values.values())
    chosen = []
    while missing:
        chosen.append(
            max(values, key=lambda name: len(values[name] & missing) / RECORDS[name].macs ** 0.5)
        )
        missing -= values[chosen[-1]]
    return sorted(chosen)


def _values_of(name: str) -> set[tuple[str, str, object]]:
    """Return what decides which operators a network has: labels of choices, switches."""
    record = RECORDS[name]
    choices = read_architecture(find_entry(name))
    labels = {label for value in choices.values() for label in _leaves(value)}
    switches = {(key, leaf) for key, value in record.settings.items() for leaf in _leaves(value)}
    return {(record.space, "", record.space)} | {
        (record.space, key, value)
        for key, value in [*(("choice", label) for label in labels), *switches]
        if isinstance(value, (str, bool))
    }


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, (list, tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value
