"""MIT HAN Lab's files: ProxylessNAS, Once-for-All and MCUNet name their layers alike.

Source: mit-han-lab/proxylessnas at bf58b5c, `proxyless_nas/nas_modules.py`;
mit-han-lab/once-for-all at f03b267, `ofa/imagenet_classification/networks`. Blocks
that a search replaced by an identity keep their number and own no keys, so a
file's numbers have holes; which ones is not part of the architecture.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

PARTS = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "project": "point_linear",
}
GATE = {"fc1": "reduce", "fc2": "expand"}
TOP = {
    "stem": "first_conv",
    # One of the two: ProxylessNAS pools behind this layer, MobileNetV3 before it.
    "final": "feature_mix_layer",
    "hidden.fc": "feature_mix_layer.conv",
    "classifier": "classifier.linear",
}
# Once-for-All renamed the middle part; its code reads both.
_BLOCK = re.compile(r"^blocks\.(\d+)\.(mobile_inverted_conv|conv)\.")


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    matches = [match for key in file_keys if (match := _BLOCK.match(key))]
    numbers = sorted({int(match[1]) for match in matches})
    inside = matches[0][2] if matches else "conv"

    def block_name(key: BlockKey) -> str:
        if not key.part:
            return f"final_expand_layer.{key.leaf}"
        number = numbers[key.flat] if key.flat < len(numbers) else f"<{key.flat}th of them>"
        place = f"blocks.{number}.{inside}"
        if key.part == "squeeze_excite":
            module, _, leaf = key.leaf.partition(".")
            return f"{place}.depth_conv.se.fc.{GATE[module]}.{leaf}"
        return f"{place}.{PARTS[key.part]}.{key.leaf}"

    return rename(keys, TOP, block_name)


MIT = Format(
    name="mit",
    signature=_BLOCK.pattern + "depth_conv",
    names={"ProxylessNAS": _names, "MobileNetV3Space": _names},
    as_linear=("hidden.fc.weight",),
)
