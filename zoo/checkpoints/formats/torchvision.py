"""torchvision's `mobilenet_v3_large` and `mobilenet_v3_small`.

Source: pytorch/vision 0.29, `torchvision/models/mobilenetv3.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

_TOP = {
    "stem.conv": "features.0.0",
    "stem.bn": "features.0.1",
    "hidden.fc": "classifier.0",
    "classifier": "classifier.3",
}
_MODULES = {"conv": "0", "bn": "1", "fc1": "fc1", "fc2": "fc2"}


def _block_name(key: BlockKey) -> str:
    module, _, leaf = key.leaf.partition(".")
    place = f"features.{key.flat + 1}"
    if key.part:
        place += f".block.{key.parts.index(key.part)}"
    return f"{place}.{_MODULES[module]}.{leaf}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename(keys, _TOP, _block_name)


TORCHVISION = Format(
    name="torchvision",
    signature=r"^features\.\d+\.block\.0\.0\.weight$",
    names={"MobileNetV3Space": _names},
)
