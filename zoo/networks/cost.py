"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import nn

from zoo.networks.network import Network


def count_parameters(network: nn.Module) -> int:
    """Return the number of learnable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: Network, size: int) -> int:
    """Return the multiply-accumulates of one image of `size` × `size` pixels.

    Counted as FLOPs / 2 by `torch.utils.flop_counter`: convolutions and matrix
    products; norms, activations, pooling and additions are not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    like = next(network.parameters())
    was_training = network.training
    network.eval()
    image = torch.zeros(1, network.in_chans, size, size, device=like.device, dtype=like.dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    network.train(was_training)
    return counter.get_total_flops() // 2
