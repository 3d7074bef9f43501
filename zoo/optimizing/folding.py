"""BatchNorm folded into the convolution before it: the same function, one pass over memory less.

Which convolution comes before which norm is declared, not guessed: a module that holds both says
so in `folds`, a tuple of tuples of attribute names, the norm last. Several convolutions before it
are those whose outputs it gets concatenated. In a plain `nn.Sequential` neighbours are folded.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from zoo.layers.conv import Conv2d
from zoo.layers.mixed_conv import find_parts

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Fold(NamedTuple):
    """A norm that can be folded: its owner and name there, and what it gets concatenated."""

    owner: nn.Module
    name: str
    convolutions: list[nn.Conv2d]

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The norm itself."""
        norm = getattr(self.owner, self.name)
        assert isinstance(norm, nn.BatchNorm2d)
        return norm


def fold_batch_norm(network: AnyModule) -> AnyModule:
    """Return a copy for inference whose norms are folded, wherever `find_folds` finds one.

    Folded weights are computed in float64. All other tensors are shared with `network`, which
    stays as it is.
    """
    network = copy_for_inference(network)
    for fold in find_folds(network):
        _fold(fold)
    return network


def copy_for_inference(network: AnyModule) -> AnyModule:
    """Return a copy in evaluation mode that shares all memory and requires no gradient."""
    shared: dict[int, Tensor] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=False)
        for parameter in network.parameters()
    }
    shared |= {id(buffer): buffer.detach() for buffer in network.buffers()}
    return copy.deepcopy(network, shared).eval()


def find_folds(network: nn.Module) -> list[Fold]:
    """Return every norm that stands behind convolutions alone, by the structure of the modules."""
    # A module with two places in the network would need two different foldings.
    places = Counter(child for module in network.modules() for child in module._modules.values())
    folds = []
    for owner in network.modules():
        for convolutions, name in _find_candidates(owner):
            norm = getattr(owner, name)
            if (
                convolutions
                and type(norm) is nn.BatchNorm2d
                and norm.running_mean is not None
                and all(places[module] == 1 for module in (norm, *convolutions))
            ):
                folds.append(Fold(owner, name, convolutions))
    return folds


def _find_candidates(owner: nn.Module) -> Iterator[tuple[list[nn.Conv2d], str]]:
    if type(owner).forward is nn.Sequential.forward:
        for (_, before), (name, _) in itertools.pairwise(owner._modules.items()):
            # Subclasses of other people may do more than convolve.
            if type(before) is nn.Conv2d or type(before) is Conv2d:
                yield [before], name
    for *names, name in getattr(owner, "folds", ()):
        yield [part for each in names for part in find_parts(getattr(owner, each))], name


@torch.no_grad()
def _fold(fold: Fold) -> None:
    norm = fold.norm
    assert norm.running_mean is not None and norm.running_var is not None
    first = 0
    for conv in fold.convolutions:
        rows = slice(first, first := first + conv.out_channels)
        weight, bias = fuse_conv_bn_weights(
            conv.weight.double(),
            None if conv.bias is None else conv.bias.double(),
            norm.running_mean[rows].double(),
            norm.running_var[rows].double(),
            norm.eps,
            None if norm.weight is None else norm.weight[rows].double(),
            None if norm.bias is None else norm.bias[rows].double(),
        )
        conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    setattr(fold.owner, fold.name, nn.Identity())
