"""Small networks and checkpoint files of them, in the formats others write."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import torch
from torch import Tensor

from tests.spaces.small import small_space
from zoo.checkpoints.formats import FORMATS
from zoo.networks.network import Network


def tiny(space: str = "ProxylessNAS", seed: int = 0, **settings: Any) -> Network:
    """Return a small network with random weights and statistics that are no defaults."""
    torch.manual_seed(seed)
    built = small_space(space, **settings)
    network = built.build(built.sample(Random(seed))).eval()
    generator = torch.Generator().manual_seed(seed)
    for key, tensor in network.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.05)
        else:
            tensor.fill_(11)
    return network


def in_format(network: Network, name: str) -> dict[str, Tensor]:
    """Return the state dict of a network under the keys of a format."""
    entry = FORMATS[name]
    names_for = entry.names_for(network.space)
    assert names_for is not None
    tensors = network.state_dict()
    names = names_for(list(tensors), _numbered(tensors) if name == "mit" else [])
    return {
        names[key]: tensor[..., None, None] if key in entry.as_linear else tensor
        for key, tensor in tensors.items()
    }


def same_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether two state dicts have the same keys, and tensors bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _numbered(tensors: Mapping[str, Tensor]) -> list[str]:
    # Files of the authors have holes in their numbers; here every second number is one.
    blocks = {tuple(key.split(".")[1:3]) for key in tensors if key.startswith("stages.")}
    return [f"blocks.{2 * n}.mobile_inverted_conv.depth_conv" for n in range(len(blocks))]
