"""Small settings of every space: few architectures, thin networks, small images.

A new space gets an entry here, and every law in `test_space_laws.py` and
`tests/networks/test_network_protocol.py` is tested for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.networks.network import Network
from zoo.registry import SPACES, find_space
from zoo.spaces.base import SearchSpace


@dataclass(frozen=True)
class Small:
    """Settings that make a space small.

    Args:
        image_size: What its networks are run at.
        size: Number of architectures, from the paper, of a space that no setting makes small.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    image_size: int = 32
    size: int | None = None


# Two nodes with one operator, so that a node may read another one.
_CELLS = {"nodes": 2, "operators": ("sep_conv_3x3",), "width": 4, "num_cells": 3}

SMALL = {
    "AmoebaNet": Small(_CELLS),
    "AutoformerSpace": Small(
        {
            "embed_dims": (24, 32),
            "num_heads": (1, 2),
            "mlp_ratios": (1.5, 2.0),
            "depths": (2, 3),
            "image_size": 32,
            "patch_size": 8,
            "head_dim": 16,
        }
    ),
    "DARTS": Small({**_CELLS, "width": (4, 8), "num_cells": (3, 4)}),
    "ENAS": Small({**_CELLS, "nodes": 1, "operators": ("skip_connect", "max_pool_3x3")}),
    "ENASMacro": Small({"layers": 3, "width": 4}),
    "MobileNetV3Space": Small(
        {
            "base_widths": (16, 8, 16, 24, 32, 48),
            "width_multipliers": (0.5, 1.0),
            "stem_kernel_sizes": (3, 5),
            "kernel_sizes": (3,),
            "expand_ratios": (1, 2.5),
            "squeeze_excite": ("optional", "optional", "none"),
            "depths": ((1, 2), (1, 1)),
            "strides": (2, 1, 2, 2, 1, 1),
            "activations": ("hswish", "relu", "relu", "hswish", "swish", "hswish"),
        }
    ),
    "NASNet": Small({**_CELLS, "nodes": 1, "merge": "chosen"}),
    "NasBench101": Small(
        {"channels": 8, "cells_per_stack": 1, "max_vertices": 4, "max_edges": 4}, image_size=16
    ),
    "NasBench201": Small({"channels": 8, "cells_per_stack": 1}, image_size=16),
    "PNAS": Small({**_CELLS, "dataset": "imagenet", "skeleton": "pnasnet"}, image_size=64),
    "ProxylessNAS": Small(
        {
            "widths": (16, 8, 16, 16, 24, 24, 32, 48),
            "feature_mix": 64,
            "kernel_sizes": (3,),
            "max_depths": (2, 2, 1, 1, 1, 1),
        }
    ),
    "ShuffleNetSpace": Small({"widths": (8, 16, 24, 32, 40, 64)}, size=4**20),
}

each_space = pytest.mark.parametrize("name", sorted(SPACES))


def small_space(name: str, **settings: Any) -> SearchSpace:
    """Return a small space object."""
    _check_entry(name)
    return find_space(name).from_settings({"num_classes": 5, **SMALL[name].settings, **settings})


def images_for(name: str, batch: int = 2, channels: int = 3) -> Tensor:
    """Return random images of the size the small networks of a space are run at."""
    _check_entry(name)
    size = SMALL[name].image_size
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(0))


def _check_entry(name: str) -> None:
    if name not in SMALL:
        pytest.skip(f"{name} has no entry in tests/spaces/small.py; add small settings for it")


def has_setting(space: SearchSpace, name: str) -> bool:
    """Return whether a space has a setting of this name."""
    return name in type(space).__struct_fields__


def sampled_network(space: SearchSpace, seed: int = 0) -> Network:
    """Return the network of a random architecture, in evaluation mode."""
    return space.build(space.sample(Random(seed))).eval()
