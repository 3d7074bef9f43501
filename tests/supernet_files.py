"""Supernet files of AutoFormer in the layouts of their publishers, from a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.checkpoints.formats.autoformer import authors_names, nni_names
from zoo.networks.network import Network


def authors_layout(network: Network, *, interleaved_bias: bool = False) -> dict[str, Tensor]:
    """Return the tensors as AutoFormer keeps them, or PreNAS with an interleaved bias."""
    tensors = network.state_dict()
    names = authors_names(list(tensors), ())
    renamed = {names[key]: tensor for key, tensor in tensors.items()}
    for key in [key for key in renamed if ".attn.q." in key]:
        parts = [renamed.pop(key.replace(".q.", f".{name}.")) for name in "qkv"]
        interleave = key.endswith("weight") or interleaved_bias
        joined = torch.stack(parts, 1).flatten(0, 1) if interleave else torch.cat(parts)
        renamed[key.replace(".q.", ".qkv.")] = joined
    return renamed


def nni_layout(network: Network) -> dict[str, Tensor]:
    """Return the tensors as NNI keeps those of a supernet."""
    tensors = network.state_dict()
    names = nni_names(list(tensors), ())
    return {
        name.replace("blocks.", "blocks.blocks.", 1): tensors[key] for key, name in names.items()
    }
