"""Networks of cells: auxiliary heads, drop path, TensorFlow's padding, parity with timm."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import InvalidArgument
from zoo.layers.cell_modules import (
    Conv2d,
    FactorizedReduce,
    OperatorStyle,
    Pooling,
    same_padding,
)
from zoo.layers.cell_ops import OPERATORS, make_operator
from zoo.manifest import find_entry, read_architecture
from zoo.networks.cells import Cell, CellNetwork
from zoo.registry import find_space
from zoo.spaces.darts import DARTS
from zoo.spaces.nasnet import NASNet

SKELETONS = [
    {},
    {"dataset": "imagenet"},
    {"dataset": "imagenet", "skeleton": "nasnet"},
    {"dataset": "imagenet", "skeleton": "pnasnet"},
]


def cell_network(**settings: Any) -> CellNetwork:
    """Return a thin network of a fixed random architecture."""
    space = DARTS.from_settings({"width": 4, "num_cells": 3, "num_classes": 5, **settings})
    torch.manual_seed(0)
    network = space.build(space.sample(Random(2)))
    assert isinstance(network, CellNetwork)
    return network


# --- auxiliary heads ---------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SKELETONS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_auxiliary_head(settings: dict[str, Any], checkpointing: bool) -> None:
    """It learns with the network and leaves what `forward` returns alone."""
    network = cell_network(**settings)
    network.set_grad_checkpointing(checkpointing)
    images = torch.randn(2, 3, 32, 32) if not settings else torch.randn(2, 3, 260, 260)
    before = network.eval()(images)
    with pytest.raises(InvalidArgument, match="no auxiliary head; call attach_auxiliary_head"):
        network.forward_with_auxiliary(images)
    network.attach_auxiliary_head()
    assert network.auxiliary is not None
    assert torch.equal(network.eval()(images), before)
    network.train()
    assert isinstance(network(images), Tensor)
    logits, auxiliary = network.forward_with_auxiliary(images)
    assert logits.shape == auxiliary.shape == (2, 5)
    auxiliary.sum().backward()
    assert all(p.grad is not None for p in network.auxiliary.parameters())
    first = next(network.stem.parameters())
    assert first.grad is not None and bool(first.grad.any())
    assert next(network.classifier.parameters()).grad is None
    network.detach_auxiliary_head()
    assert not [key for key in network.state_dict() if key.startswith("auxiliary")]


def test_auxiliary_head_reads_at_two_thirds() -> None:
    """DARTS attaches it behind cell 13 of 20, the first one of the last stage."""
    network = cell_network(num_cells=20)
    network.attach_auxiliary_head()
    seen: list[Tensor] = []
    cell = network.stages[2][0]  # pyright: ignore[reportIndexIssue]
    assert sum(len(stage) for stage in list(network.stages)[:2]) == 13  # pyright: ignore
    cell.register_forward_hook(lambda *arguments: seen.append(arguments[2][1]))
    network.eval()
    _, auxiliary = network.forward_with_auxiliary(torch.randn(2, 3, 32, 32))
    assert network.auxiliary is not None
    assert torch.equal(network.auxiliary(seen[0]), auxiliary)


def test_auxiliary_head_follows_the_classifier() -> None:
    """Both have the same number of classes; without classes there is no head."""
    network = cell_network()
    network.attach_auxiliary_head()
    network.reset_classifier(7)
    logits, auxiliary = network.eval().forward_with_auxiliary(torch.randn(2, 3, 32, 32))
    assert logits.shape == auxiliary.shape == (2, 7)
    network.reset_classifier(0)
    assert network.auxiliary is None
    with pytest.raises(InvalidArgument, match="needs num_classes"):
        network.attach_auxiliary_head()


# --- drop path ---------------------------------------------------------------------------------


def drop_path_of(network: CellNetwork) -> list[float]:
    """Return the probability of every cell, in order."""
    return [
        getattr(cell.drop_path, "drop_prob", 0.0)
        for cell in network.modules()
        if isinstance(cell, Cell)
    ]


def test_drop_path_is_even_in_darts_and_grows_in_nasnet() -> None:
    """DARTS drops with one probability everywhere, NASNet more often with depth."""
    assert drop_path_of(cell_network(num_cells=6)) == [0.0] * 6
    assert drop_path_of(cell_network(num_cells=6, drop_path=0.3)) == [0.3] * 6
    grown = drop_path_of(
        cell_network(num_cells=6, drop_path=0.3, dataset="imagenet", skeleton="nasnet")
    )
    assert grown == pytest.approx([0.3 * (index + 1) / 10 for index in range(10)])


def test_drop_path_acts_in_training_on_all_but_identities() -> None:
    """With every operator dropped, what identities hand on is all that is left."""
    network = cell_network(drop_path=0.5)
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(network.eval()(images), network(images))
    network.train()
    assert not torch.equal(network(images), network(images))
    cell = next(module for module in network.modules() if isinstance(module, Cell))
    cell.drop_path.drop_prob = 1.0 - 1e-9  # pyright: ignore[reportArgumentType]
    cell.drop_path.scale_by_keep = False  # pyright: ignore[reportArgumentType]
    pair = network.stem(images)
    states = [cell.preprocess0(pair[0]), cell.preprocess1(pair[1])]
    for node in range(len(cell.ops) // 2):
        kept = [
            states[cell.sources[edge]]
            for edge in (2 * node, 2 * node + 1)
            if isinstance(cell.ops[edge], nn.Identity)
        ]
        states.append(sum(kept, torch.zeros_like(states[0])))
    expected = torch.cat([states[source] for source in cell.concat], 1)
    assert torch.equal(cell(pair)[1], expected)


# --- operators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("tensorflow", [False, True])
def test_operators_keep_or_halve(operator: str, tensorflow: bool) -> None:
    """Every operator gives ceil(size / stride) pixels, and leaves its input as it is."""
    style = OperatorStyle(tensorflow=tensorflow)
    for stride in (1, 2):
        module = make_operator(operator, 6, 8 if tensorflow else 6, stride, style).eval()
        for size in (7, 8):
            images = torch.randn(1, 6, size, 9)
            before = images.clone()
            out = module(images)
            expected = (1, 8 if tensorflow else 6, -(-size // stride), -(-9 // stride))
            assert out.shape == expected
            assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (8, 7, 2, (2, 3)), (8, 3, 1, (1, 1))],
)
def test_same_padding(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    """TensorFlow puts the odd pixel behind."""
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("size", [7, 8])
def test_same_convolution_is_explicit_padding(size: int) -> None:
    """The same as padding first and convolving without padding."""
    conv = Conv2d(2, 3, 5, 2, same=True)
    images = torch.randn(1, 2, size, size)
    low, high = same_padding(size, 5, 2)
    padded = functional.pad(images, (low, high, low, high))
    assert torch.allclose(conv(images), functional.conv2d(padded, conv.weight, stride=2), atol=1e-6)


@pytest.mark.parametrize("size", [7, 8])
def test_pooling_leaves_padding_out(size: int) -> None:
    """Padding is no maximum, and counts in a mean only where that is asked for."""
    ones = torch.full((1, 2, size, size), -1.0)
    style = OperatorStyle(tensorflow=True)
    counting = OperatorStyle(tensorflow=True, pool_counts_padding=True)
    for kind in ("avg", "max"):
        assert torch.equal(Pooling(kind, 3, 2, 2, 2, style)(ones).unique(), torch.tensor([-1.0]))
        assert torch.equal(Pooling(kind, 3, 2, 2, 1, style)(ones).unique(), torch.tensor([-1.0]))
    assert Pooling("avg", 3, 2, 2, 2, counting)(ones)[0, 0, -1, -1] == pytest.approx(-4 / 9)
    assert torch.equal(Pooling("avg", 3, 2, 2, 1, counting)(ones).unique(), torch.tensor([-1.0]))


def test_factorized_reduction_takes_every_pixel() -> None:
    """One half of the channels reads the pixel at (0, 0), the other the one at (1, 1)."""
    reduce = FactorizedReduce(1, 2, style=OperatorStyle()).eval()
    nn.init.ones_(reduce.conv_1.weight)
    nn.init.ones_(reduce.conv_2.weight)
    images = torch.arange(9.0).reshape(1, 1, 3, 3)
    out = reduce(images) * (1 + 1e-5) ** 0.5
    assert torch.allclose(out[0, 0], torch.tensor([[0.0, 2.0], [6.0, 8.0]]))
    assert torch.allclose(out[0, 1], torch.tensor([[4.0, 0.0], [0.0, 0.0]]))


# --- parity with timm --------------------------------------------------------------------------


def copy_from(theirs: nn.Module, ours: CellNetwork, folder: Any) -> None:
    """Give both networks the same random weights and statistics, by way of a file."""
    from zoo.checkpoints.load import load_checkpoint

    torch.manual_seed(0)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 2.1)
    torch.save(theirs.state_dict(), folder / "timm.pth")
    load_checkpoint(ours, folder / "timm.pth")
    theirs.eval()
    ours.eval()


def deviation(theirs: nn.Module, ours: nn.Module, images: Tensor) -> float:
    """Return the largest difference of the logits, in units of their deviation."""
    with torch.inference_mode():
        expected = theirs(images)
        return float((ours(images) - expected).abs().max() / expected.std())


def test_nasnet_is_timms(tmp_path: Any) -> None:
    """The same logits as timm's NASNet, thin, at odd and even sizes; Cadene's pooling differs."""
    from timm.models.nasnet import NASNetALarge

    entry = find_entry("nasnet-a-large")
    settings = {**entry.record.settings, "width": 8, "stem_channels": 6, "num_classes": 11}
    architecture = read_architecture(entry)
    ours = NASNet.from_settings(settings).build(architecture)
    assert isinstance(ours, CellNetwork)
    theirs = NASNetALarge(num_classes=11, stem_size=6, num_features=8 * 24)
    copy_from(theirs, ours, tmp_path)
    for size in ((75, 75), (64, 97)):
        assert deviation(theirs, ours, torch.randn(2, 3, *size)) < 1e-5
    original = NASNet.from_settings({**settings, "pool_counts_padding": False}).build(architecture)
    assert isinstance(original, CellNetwork)
    copy_from(theirs, original, tmp_path)
    assert deviation(theirs, original, torch.randn(2, 3, 75, 75)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "timm_name"),
    [("nasnet-a-large", "nasnetalarge"), ("pnasnet-5-large", "pnasnet5large")],
)
def test_large_networks_are_timms(name: str, timm_name: str, tmp_path: Any) -> None:
    """The same logits and feature widths as timm's networks, at another size than published."""
    import timm

    entry = find_entry(name)
    space = find_space(entry.record.space).from_settings(entry.record.settings)
    ours = space.build(read_architecture(entry))
    assert isinstance(ours, CellNetwork)
    theirs = timm.create_model(timm_name, pretrained=False)
    copy_from(theirs, ours, tmp_path)
    assert deviation(theirs, ours, torch.randn(2, 3, 97, 128)) < 1e-5
    mine = [(info["num_chs"], info["reduction"]) for info in ours.feature_info]
    assert mine == [(info["num_chs"], info["reduction"]) for info in theirs.feature_info]  # pyright: ignore
