"""timm's MobileNetV3 and EfficientNet families; the authors of Cream wrote their files with it.

Source: huggingface/pytorch-image-models 1.0, `timm/models/_efficientnet_blocks.py`,
`mobilenetv3.py` and `efficientnet.py`; microsoft/Cream at 4a13c40 on timm 0.1.20.
"""

from __future__ import annotations

import re
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
_EDGE_RESIDUAL = {
    "expand.conv": "conv_exp",
    "expand.bn": "bn1",
    "project.conv": "conv_pwl",
    "project.bn": "bn2",
}
_PLAIN = {"conv": "conv", "bn": "bn1"}
_TOP = {
    "stem.conv": "conv_stem",
    "stem.bn": "bn1",
    # One of the two: MobileNetV3 pools before its last convolution, EfficientNet after it.
    "hidden.fc": "conv_head",
    "final.conv": "conv_head",
    "final.bn": "bn2",
    "classifier": "classifier",
}

_PLACE = re.compile(r"^blocks\.(\d+)\.(\d+)\.")


def _block_name(key: BlockKey, places: Sequence[tuple[int, int]]) -> str:
    # timm's stages change width where ours do not (FBNetV3): blocks correspond in order.
    stage, index = places[key.flat] if key.flat < len(places) else (key.stage, key.index)
    place = f"blocks.{stage}.{index}"
    if key.part == "squeeze_excite":
        return f"{place}.se.{gate_leaf(key)}"
    module, _, leaf = key.leaf.partition(".")
    if not key.part:
        return f"{place}.{_PLAIN[module]}.{leaf}"
    if "depthwise" not in key.parts:
        table = _EDGE_RESIDUAL
    else:
        table = _INVERTED_RESIDUAL if "expand" in key.parts else _DEPTHWISE_SEPARABLE
    return f"{place}.{table[f'{key.part}.{module}']}.{leaf}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    matches = [match for key in file_keys if (match := _PLACE.match(key))]
    places = sorted({(int(match[1]), int(match[2])) for match in matches})
    return rename(keys, _TOP, lambda key: _block_name(key, places))


TIMM = Format(
    name="timm",
    signature=r"^blocks\.\d+\.\d+\.conv_dw\.weight$",
    names={"MobileNetV3Space": _names},
    as_linear=("hidden.fc.weight",),
)
