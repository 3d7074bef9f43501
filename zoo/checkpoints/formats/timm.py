"""timm's MobileNetV3 family; the authors of Cream wrote their files with it.

Source: huggingface/pytorch-image-models 1.0, `timm/models/_efficientnet_blocks.py`
and `mobilenetv3.py`; microsoft/Cream at 4a13c40 on timm 0.1.20.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, gate_leaf, rename

_INVERTED_RESIDUAL = {
    "expand.conv": "conv_pw",
    "expand.bn": "bn1",
    "depthwise.conv": "conv_dw",
    "depthwise.bn": "bn2",
    "project.conv": "conv_pwl",
    "project.bn": "bn3",
}
_DEPTHWISE_SEPARABLE = {
    "depthwise.conv": "conv_dw",
    "depthwise.bn": "bn1",
    "project.conv": "conv_pw",
    "project.bn": "bn2",
}
_PLAIN = {"conv": "conv", "bn": "bn1"}
_TOP = {
    "stem.conv": "conv_stem",
    "stem.bn": "bn1",
    "hidden.fc": "conv_head",
    "classifier": "classifier",
}


def _block_name(key: BlockKey) -> str:
    place = f"blocks.{key.stage}.{key.index}"
    if key.part == "squeeze_excite":
        return f"{place}.se.{gate_leaf(key)}"
    module, _, leaf = key.leaf.partition(".")
    if not key.part:
        return f"{place}.{_PLAIN[module]}.{leaf}"
    table = _INVERTED_RESIDUAL if "expand" in key.parts else _DEPTHWISE_SEPARABLE
    return f"{place}.{table[f'{key.part}.{module}']}.{leaf}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename(keys, _TOP, _block_name)


TIMM = Format(
    name="timm",
    signature=r"^blocks\.\d+\.\d+\.conv_dw\.weight$",
    names={"MobileNetV3Space": _names},
    as_linear=("hidden.fc.weight",),
)
