"""FairNAS' files: MobileNetV2-like blocks with numbered convolutions and norms.

Source: xiaomi-automl/FairNAS at fa0d393, `models/FairNAS_A.py`, `FairNAS_B.py`, `FairNAS_C.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

_TOP = {
    "stem.conv": "stem.0",
    "stem.bn": "stem.1",
    "final.conv": "conv_before_pooling.0",
    "final.bn": "conv_before_pooling.1",
    "classifier": "classifier.1",
}
# The first block is a flat sequence: convolution, norm, activation, convolution, norm.
_FIRST = {"depthwise.conv": "0", "depthwise.bn": "1", "project.conv": "3", "project.bn": "4"}
_NUMBERS = {"expand": 1, "depthwise": 2, "project": 3}


def _block_name(key: BlockKey) -> str:
    module, _, leaf = key.leaf.partition(".")
    if key.flat == 0:
        return f"separable_conv.{_FIRST[f'{key.part}.{module}']}.{leaf}"
    return f"mb_module.{key.flat - 1}.{module}{_NUMBERS[key.part]}.{leaf}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename(keys, _TOP, _block_name)


FAIRNAS = Format(
    name="fairnas",
    signature=r"^mb_module\.\d+\.conv1\.weight$",
    names={"ProxylessNAS": _names},
)
