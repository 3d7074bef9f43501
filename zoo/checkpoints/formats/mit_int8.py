"""MIT HAN Lab's int8 exchange format: nested dictionaries, per-channel scales, no BatchNorm.

Source: mit-han-lab/tiny-training at 7bf8e05, `algorithm/assets/mcu_models`.
float weight = weight × w_scales per output channel; float bias = bias × x_scale × w_scales.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename
from zoo.errors import CorruptCheckpoint

_PARTS = {"expand": "pointwise1", "depthwise": "depthwise", "project": "pointwise2"}
_TOP = {"stem.conv": "first_conv", "final.conv": "feature_mix", "classifier": "classifier"}
_BLOCK_PARTS = ("pointwise1", "depthwise", "pointwise2")


def decode(content: Any) -> dict[str, Tensor]:
    """Return float32 weights and biases by name from the nested dictionaries of a file.

    Raises:
        CorruptCheckpoint: the content has another layout.
    """
    try:
        return {
            f"{name}.{kind}": tensor
            for name, conv in _convolutions(content)
            for kind, tensor in _dequantise(conv["params"]).items()
        }
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CorruptCheckpoint(
            f"not MIT's int8 exchange format: {type(error).__name__}: {error}"
        ) from None


def _convolutions(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("first_conv", "feature_mix", "classifier"):
        if content[name] is not None:
            yield name, content[name]
    for number, block in enumerate(content["blocks"]):
        if block["se"] is not None:
            raise ValueError(f"block {number} has squeeze-and-excite, which no such file had")
        for part in _BLOCK_PARTS:
            if block[part] is not None:
                yield f"blocks.{number}.{part}", block[part]


def _dequantise(params: Mapping[str, Any]) -> dict[str, Tensor]:
    weight = torch.as_tensor(params["weight"])
    scales = torch.as_tensor(params["w_scales"]).float()
    bias = torch.as_tensor(params["bias"])
    if weight.dtype != torch.int8 or scales.shape != weight.shape[:1]:
        raise ValueError(f"weight {weight.dtype} {tuple(weight.shape)}, scales {scales.shape}")
    if not (weight.is_contiguous() and bias.is_contiguous()):
        raise ValueError(f"weight {tuple(weight.shape)} is larger than what is stored of it")
    return {
        "weight": weight.float() * scales.view(-1, *[1] * (weight.dim() - 1)),
        "bias": (bias.double() * params["x_scale"] * scales.double()).float(),
    }


def _block_name(key: BlockKey) -> str:
    return f"blocks.{key.flat}.{_PARTS[key.part]}.{key.leaf.removeprefix('conv.')}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename(keys, _TOP, _block_name)


MIT_INT8 = Format(
    name="mit-int8",
    signature=r"^blocks\.\d+\.pointwise2\.weight$",
    names={"ProxylessNAS": _names},
    as_linear=("classifier.weight",),
    decode=decode,
)
