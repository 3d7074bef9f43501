"""ProxylessNAS: NNI's labels, widths, and what a block label builds."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from zoo import ProxylessNAS, errors

LABELS: dict[str, Any] = {
    "s2_depth": 2, "s2_i0": "k5e3", "s2_i1": "k3e3",
    "s3_depth": 1, "s3_i0": "k7e3",
    "s4_depth": 1, "s4_i0": "k7e6",
    "s5_depth": 1, "s5_i0": "k5e6",
    "s6_depth": 1, "s6_i0": "k7e6",
    "s7_depth": 1, "s7_i0": "k7e6",
}  # fmt: skip
ARCHITECTURE = {
    "s2": ["k5e3", "k3e3"],
    "s3": ["k7e3"],
    "s4": ["k7e6"],
    "s5": ["k5e6"],
    "s6": ["k7e6"],
    "s7": ["k7e6"],
}


def test_size() -> None:
    """Six block options; five stages of one to four blocks and one of one."""
    assert ProxylessNAS().size() == (6 + 6**2 + 6**3 + 6**4) ** 5 * 6


def test_from_nni() -> None:
    """NNI's labels; the depth of the last stage may be left out, because it is no choice."""
    space = ProxylessNAS()
    assert space.from_nni(LABELS) == ARCHITECTURE
    assert space.from_nni({k: v for k, v in LABELS.items() if k != "s7_depth"}) == ARCHITECTURE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s2_i1": None}, "illegal choice 's2': block 1: None"),
        ({"s2_depth": 3}, "lacks 's2_i2'"),
        ({"s2_depth": 1}, "does not declare: s2_i1"),
        ({"s2_depth": "2"}, "'s2_depth' cannot be '2'"),
        ({"s2_depth": 10**12}, "lacks 's2_i2'"),
        ({"s2_depth": 0}, "s2"),
        ({"s8_depth": 1}, "does not declare: s8_depth"),
        ({"s3_i0": "k9e3"}, "illegal choice 's3': block 0: 'k9e3' is not one of k3e3"),
    ],
)
def test_from_nni_refuses(change: dict[str, Any], message: str) -> None:
    """What is missing, left over or illegal is named."""
    with pytest.raises(errors.InvalidArchitecture, match=message):
        ProxylessNAS().from_nni({**LABELS, **change})


def test_blocks_are_what_their_labels_say() -> None:
    """Kernel, middle width, stride and residual of every block of a known architecture."""
    network = ProxylessNAS().build(ARCHITECTURE)
    assert [len(stage) for stage in network.stages] == [1, 2, 1, 1, 1, 1, 1]
    blocks = [block for stage in network.stages for block in stage]
    depthwise = [block.depthwise.conv for block in blocks]
    assert [conv.kernel_size[0] for conv in depthwise] == [3, 5, 3, 7, 7, 5, 7, 7]
    assert [conv.stride[0] for conv in depthwise] == [1, 2, 1, 2, 2, 1, 2, 1]
    assert [conv.in_channels for conv in depthwise] == [32, 48, 96, 96, 240, 480, 576, 1152]
    assert [block.residual for block in blocks] == [False, False, True] + [False] * 5
    assert network.final.conv.out_channels == network.num_features == 1280
    assert {bn.eps for bn in network.modules() if type(bn).__name__ == "BatchNorm2d"} == {1e-3}


def test_without_feature_mix() -> None:
    """None leaves the last convolution out, and the classifier reads the last stage."""
    network = ProxylessNAS(feature_mix=None).build(ARCHITECTURE)
    assert network.num_features == 320
    assert network.classifier.in_features == 320


def test_folded_batch_norm() -> None:
    """Folded networks have biases instead of BatchNorm."""
    network = ProxylessNAS(folded_batch_norm=True).build(ARCHITECTURE)
    assert not any(type(m).__name__ == "BatchNorm2d" for m in network.modules())
    assert network.stem.conv.bias is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (32, 16)}, "expected 8 widths, 8 strides, .* got 2, 8, 6 and 6"),
        ({"strides": (2, 1)}, "expected 8 widths, 8 strides, .* got 8, 2, 6 and 6"),
        ({"strides": (2, 1, 3, 2, 2, 1, 2, 1)}, "setting strides="),
        ({"widths": (32, 16, 32, 40, 80, 96, 192, 0)}, "setting widths="),
        ({"kernel_sizes": (3, 3)}, "got .* again"),
        ({"kernel_sizes": (4,)}, "kernel size 4: expected an odd number"),
        ({"expand_ratios": (1e-7,)}, "expand ratio 1e-07"),
        ({"expand_ratios": (1 / 3,)}, "expand ratio 0.333"),
        ({"expand_ratios": (float("inf"),)}, "setting expand_ratios=.*finite"),
        ({"max_depths": (4, 4, 4, 4, 4, 0)}, "setting max_depths="),
        ({"min_depths": (2, 2, 2, 2, 2, 2)}, "depths 2 to 1: expected the least first"),
        ({"dropout": 1.0}, "setting dropout=1.0"),
        ({"feature_mix": 0}, "setting feature_mix=0"),
    ],
)
def test_settings_refused(settings: dict[str, Any], message: str) -> None:
    """A setting that no network could be built from is refused before one is built."""
    with pytest.raises(errors.InvalidArgument, match=message):
        ProxylessNAS.from_settings(settings).choices()


def test_strides_for_small_images() -> None:
    """Other strides make another network, for images of 32 pixels."""
    strides = (1, 1, 2, 1, 2, 1, 2, 1)
    space = ProxylessNAS(widths=(8,) * 8, feature_mix=16, strides=strides, num_classes=10)
    architecture = space.sample(Random(0))
    network = space.build(architecture)
    assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)
    assert [info["reduction"] for info in network.feature_info] == [1, 2, 4, 8]
    usual = ProxylessNAS(widths=(8,) * 8, feature_mix=16, num_classes=10)
    assert space.architecture_hash(architecture) != usual.architecture_hash(architecture)
