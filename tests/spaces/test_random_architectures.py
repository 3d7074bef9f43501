"""Random architectures of every space, in its skeletons for CIFAR and ImageNet, from draw to train.

What may be chosen is what the space has as default; only the channels are few.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import torch

from zoo.registry import SPACES, find_space
from zoo.spaces.nds import CellSpace


@dataclass(frozen=True)
class Skeleton:
    """Settings with few channels, and the side of the images they are trained on."""

    image_size: int
    settings: dict[str, Any] = field(default_factory=dict)


_CELLS = {"width": 4, "num_cells": 3}
CELLS = {
    "cifar": Skeleton(16, _CELLS),
    "imagenet": Skeleton(64, {**_CELLS, "dataset": "imagenet"}),
}
ORIGINAL = {**_CELLS, "dataset": "imagenet", "stem_channels": 8}
_PROXYLESS = {"widths": (16, 8, 8, 16, 16, 24, 24, 32), "feature_mix": 48}
_MOBILE = {"base_widths": (16, 16, 16, 16, 24, 24, 32, 48, 64)}
_TRANSFORMER = {"embed_dims": (24, 27, 30), "head_dim": 8}
_SHUFFLE = {"widths": (8, 16, 24, 32, 40, 48)}

SKELETONS: dict[str, dict[str, Skeleton]] = {
    "AmoebaNet": {**CELLS, "original": Skeleton(64, {**ORIGINAL, "skeleton": "nasnet"})},
    "AutoformerSpace": {
        "cifar": Skeleton(32, {**_TRANSFORMER, "image_size": 32, "patch_size": 8}),
        "imagenet": Skeleton(64, {**_TRANSFORMER, "image_size": 64}),
    },
    "DARTS": CELLS,
    "ENAS": CELLS,
    "ENASMacro": {"cifar": Skeleton(16, {"width": 4})},
    "MobileNetV3Space": {
        "cifar": Skeleton(32, {**_MOBILE, "strides": (1, 1, 1, 2, 2, 1, 2, 1, 1)}),
        "imagenet": Skeleton(64, _MOBILE),
    },
    "NASNet": {**CELLS, "original": Skeleton(64, {**ORIGINAL, "skeleton": "nasnet"})},
    "NasBench101": {"cifar": Skeleton(16, {"channels": 8, "cells_per_stack": 1})},
    "NasBench201": {
        "cifar": Skeleton(32, {"channels": 4, "cells_per_stack": 1}),
        "imagenet": Skeleton(16, {"channels": 4, "cells_per_stack": 1}),  # ImageNet16-120
    },
    "PNAS": {**CELLS, "original": Skeleton(64, {**ORIGINAL, "skeleton": "pnasnet"})},
    "ProxylessNAS": {
        "cifar": Skeleton(32, {**_PROXYLESS, "strides": (1, 1, 1, 2, 2, 1, 2, 1)}),
        "imagenet": Skeleton(64, _PROXYLESS),
    },
    "ShuffleNetSpace": {
        "cifar": Skeleton(32, {**_SHUFFLE, "strides": (1, 1, 2, 2, 2)}),
        "imagenet": Skeleton(64, _SHUFFLE),
        "channel-search": Skeleton(64, {**_SHUFFLE, "channel_search": True}),
    },
}


def test_every_space_is_here() -> None:
    """Those whose papers have CIFAR and ImageNet networks with both."""
    assert set(SKELETONS) == set(SPACES)
    for name, skeletons in SKELETONS.items():
        if issubclass(find_space(name), CellSpace):
            assert {"cifar", "imagenet"} <= set(skeletons)


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "skeleton"), [(name, skeleton) for name in SKELETONS for skeleton in SKELETONS[name]]
)
def test_from_draw_to_training(name: str, skeleton: str, count: int) -> None:
    """Legal, the same again from its text, trainable, and with feature maps as described."""
    small = SKELETONS[name][skeleton]
    space = find_space(name).from_settings({"num_classes": 5, **small.settings})
    rng, generator, texts = Random(0), torch.Generator().manual_seed(0), set()
    labels = torch.tensor([0, 1, 2, 4])
    torch.manual_seed(0)
    for _ in range(count):
        architecture = space.sample(rng)
        space.check(architecture)
        text = space.encode(architecture)
        texts.add(text)
        assert space.decode(text) == architecture
        network = space.build(architecture).train()
        images = torch.randn(4, 3, small.image_size, small.image_size, generator=generator)
        logits = network(images)
        assert logits.shape == (4, 5), text
        torch.nn.functional.cross_entropy(logits, labels).backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients), text
        assert torch.isfinite(logits).all(), text
        # The bias where there is one: a cell of zeros is an architecture of NAS-Bench-201.
        *_, last = network.classifier.parameters()
        assert last.grad.abs().sum() > 0, text
        with torch.no_grad():
            maps = network.eval().features_only()(images)
        for features, info in zip(maps, network.feature_info, strict=True):
            assert features.shape[1] == info["num_chs"], text
            side = small.image_size / info["reduction"]
            assert all(abs(length - side) <= 1 for length in features.shape[2:]), text
    assert len(texts) > 0.9 * count
