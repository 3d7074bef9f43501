"""d-li14's MobileNetV3: flat sequences, squeeze-and-excite of linear layers.

Source: d-li14/mobilenetv3.pytorch at 3e6938c, `mobilenetv3.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

_TOP = {
    "stem.conv": "features.0.0",
    "stem.bn": "features.0.1",
    "hidden.fc": "classifier.0",
    "classifier": "classifier.3",
}
_MODULES = {"conv": 0, "bn": 1, "fc1": 0, "fc2": 2}
# Where the parts start in a block with a widening convolution, and in one without: there the
# gate comes behind the activation, otherwise before it.
_WIDENING = {"expand": 0, "depthwise": 3, "squeeze_excite": 5, "project": 7}
_SEPARABLE = {"depthwise": 0, "squeeze_excite": 3, "project": 4}


def _block_name(key: BlockKey) -> str:
    module, _, leaf = key.leaf.partition(".")
    if not key.part:
        return f"conv.{_MODULES[module]}.{leaf}"
    start = (_WIDENING if "expand" in key.parts else _SEPARABLE)[key.part]
    place = f"features.{key.flat + 1}.conv"
    if key.part == "squeeze_excite":
        return f"{place}.{start}.fc.{_MODULES[module]}.{leaf}"
    return f"{place}.{start + _MODULES[module]}.{leaf}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename(keys, _TOP, _block_name)


def _gates_as_convolutions(content: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    del network
    return {
        key: tensor[:, :, None, None] if ".fc." in key and tensor.ndim == 2 else tensor
        for key, tensor in content.items()
    }


DLI14 = Format(
    name="dli14",
    signature=r"^features\.1\.conv\.0\.weight$",
    names={"MobileNetV3Space": _names},
    convert={"MobileNetV3Space": _gates_as_convolutions},
)
