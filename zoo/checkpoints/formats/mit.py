"""The authors' ProxylessNAS files.

Source: mit-han-lab/proxylessnas at bf58b5c, `proxyless_nas/nas_modules.py`. Blocks
that the search replaced by an identity keep their number and own no keys, so a
file's numbers have holes; which ones is not part of the architecture.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

_PARTS = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "project": "point_linear",
}
_TOP = {"stem": "first_conv", "final": "feature_mix_layer", "classifier": "classifier.linear"}
_BLOCK = re.compile(r"^blocks\.(\d+)\.mobile_inverted_conv\.")


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    numbers = sorted({int(match[1]) for key in file_keys if (match := _BLOCK.match(key))})

    def block_name(key: BlockKey) -> str:
        number = numbers[key.flat] if key.flat < len(numbers) else f"<{key.flat}th of them>"
        return f"blocks.{number}.mobile_inverted_conv.{_PARTS[key.part]}.{key.leaf}"

    return rename(keys, _TOP, block_name)


PROXYLESSNAS = Format(
    name="proxylessnas",
    signature=_BLOCK.pattern,
    names={"ProxylessNAS": _names},
)
