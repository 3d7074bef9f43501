"""torchvision's MobileNetV3, MnasNet and EfficientNet.

Source: pytorch/vision 0.29, `torchvision/models/{mobilenetv3,mnasnet,efficientnet}.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

_MODULES = {"conv": "0", "bn": "1", "fc1": "fc1", "fc2": "fc2"}
_STEM = {"stem.conv": "features.0.0", "stem.bn": "features.0.1"}


def _part(key: BlockKey, place: str) -> str:
    module, _, leaf = key.leaf.partition(".")
    if key.part:
        place += f".block.{key.parts.index(key.part)}"
    return f"{place}.{_MODULES[module]}.{leaf}"


def _mobilenetv3(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    top = {**_STEM, "hidden.fc": "classifier.0", "classifier": "classifier.3"}
    return rename(keys, top, lambda key: _part(key, f"features.{key.flat + 1}"))


def _efficientnet(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    last = _stage_count(keys) + 1
    top = {
        **_STEM,
        "final.conv": f"features.{last}.0",
        "final.bn": f"features.{last}.1",
        "classifier": "classifier.1",
    }
    return rename(keys, top, lambda key: _part(key, f"features.{key.stage + 1}.{key.index}"))


def _mnasnet(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    """Stem, first block and head are flat in `layers`; every part counts three, act included."""
    del file_keys
    stages = _stage_count(keys)

    def block_name(key: BlockKey) -> str:
        module, _, leaf = key.leaf.partition(".")
        position = 3 * key.parts.index(key.part) + int(_MODULES[module])
        if key.stage == 0:
            return f"layers.{3 + position}.{leaf}"
        return f"layers.{7 + key.stage}.{key.index}.layers.{position}.{leaf}"

    top = {
        "stem.conv": "layers.0",
        "stem.bn": "layers.1",
        "final.conv": f"layers.{7 + stages}",
        "final.bn": f"layers.{8 + stages}",
        "classifier": "classifier.1",
    }
    return rename(keys, top, block_name)


def _stage_count(keys: Sequence[str]) -> int:
    return 1 + max(int(key.split(".")[1]) for key in keys if key.startswith("stages."))


TORCHVISION = Format(
    name="torchvision",
    signature=r"^features\.\d+\.block\.0\.0\.weight$",
    names={"MobileNetV3Space": _mobilenetv3},
)
TORCHVISION_EFFICIENTNET = Format(
    name="torchvision-efficientnet",
    signature=r"^features\.\d+\.\d+\.block\.0\.0\.weight$",
    names={"MobileNetV3Space": _efficientnet},
)
TORCHVISION_MNASNET = Format(
    name="torchvision-mnasnet",
    signature=r"^layers\.\d+\.\d+\.layers\.0\.weight$",
    names={"MobileNetV3Space": _mnasnet},
)
