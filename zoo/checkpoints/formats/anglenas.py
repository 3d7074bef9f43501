"""AngleNAS' files: every block is one flat sequence of convolutions, norms and activations.

Source: megvii-model/AngleNAS at c4cb189, `SPOS/train`, `ProxylessNAS/train` and
`FairNAS/train`: `model.py` and `torch_blocks.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

_TOP = {
    "stem.conv": "conv_bn.0",
    "stem.bn": "conv_bn.1",
    "final.conv": "conv_1x1_bn.0",
    "final.bn": "conv_1x1_bn.1",
    "classifier": "classifier.1",
}
_MODULES = {"conv": 0, "bn": 1}


def _block_name(key: BlockKey) -> str:
    place = f"features.{key.flat - 1}" if key.flat else "MBConv_ratio_1"
    module, _, leaf = key.leaf.partition(".")
    return f"{place}.conv.{3 * key.parts.index(key.part) + _MODULES[module]}.{leaf}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename(keys, _TOP, _block_name)


ANGLENAS = Format(
    name="anglenas",
    signature=r"^MBConv_ratio_1\.conv\.0\.weight$",
    names={"ProxylessNAS": _names},
)
