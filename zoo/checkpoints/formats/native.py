"""The zoo's own formats: a network's keys as they are, all numbers kept or the weights halved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from zoo.checkpoints.formats.cell_keys import CELL_SPACES
from zoo.checkpoints.formats.darts import set_auxiliary_aside
from zoo.checkpoints.formats.format import Format

_SIGNATURE = r"^stages\.\d+\."


def halve(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with float32 weights of two or more dimensions as float16.

    Biases and the numbers of norms stay float32: they are few, and variances can be
    smaller than what float16 holds.
    """
    return {
        key: tensor.half() if tensor.dtype == torch.float32 and tensor.dim() > 1 else tensor
        for key, tensor in tensors.items()
    }


def _widen(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    widened = {
        key: tensor.float() if tensor.dtype == torch.float16 and tensor.dim() > 1 else tensor
        for key, tensor in tensors.items()
    }
    return _as_they_are(widened, network)


def _as_they_are(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    if getattr(network, "space", "") in CELL_SPACES:
        return set_auxiliary_aside(tensors, network)
    return dict(tensors)


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return {key: key for key in keys}


NATIVE = Format(
    name="native", signature=_SIGNATURE, names={"*": _names}, convert={"*": _as_they_are}
)

# Found by its name only, which the metadata of such a file says: numbers are not
# converted silently.
NATIVE_HALF = Format(
    name="native-half", signature=_SIGNATURE, names={"*": _names}, convert={"*": _widen}
)
