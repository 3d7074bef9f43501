"""NASNet and PNASNet in the naming of Cadene's pretrained-models and of timm.

Source: Cadene/pretrained-models.pytorch at 8aae3d8, `pretrainedmodels/models/nasnet.py`,
`nasnet_mobile.py`, `pnasnet.py`; huggingface/pytorch-image-models 1.0, `timm/models/nasnet.py`
and `pnasnet.py`. Cadene's large files keep TensorFlow's 1001 classes; the first is background.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.cell_keys import CELL_SPACES, CellKey, rename_cells
from zoo.checkpoints.formats.format import Format

_CELL = re.compile(r"^cell_(\d+)\.")
_SEPARABLE = {
    "0.depthwise": "separable_1.depthwise_conv2d",
    "0.pointwise": "separable_1.pointwise_conv2d",
    "0.bn": "bn_sep_1",
    "1.depthwise": "separable_2.depthwise_conv2d",
    "1.pointwise": "separable_2.pointwise_conv2d",
    "1.bn": "bn_sep_2",
}
_REDUCTION = {"conv_1": "path_1.conv", "conv_2": "path_2.conv", "bn": "final_path_bn"}
_CLASSIFIER = ("last_linear.weight", "last_linear.bias")


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    # The mobile NASNet leaves numbers out: cells 0 to 3, 6 to 9, 12 to 15.
    numbers = sorted({int(match[1]) for key in file_keys if (match := _CELL.match(key))})
    extra_reductions = any(key.startswith("reduction_cell_") for key in file_keys)
    in_place = any(".conv_prev_1x1.path_1." in key for key in file_keys)
    stem = "conv_0" if any(key.startswith("conv_0.") for key in file_keys) else "conv0"

    def place(key: CellKey) -> str:
        if key.index == 0 and key.stage < 2:
            return f"cell_stem_{key.stage}"
        if key.index == 0 and extra_reductions:
            return f"reduction_cell_{key.stage - 2}"
        # Before this cell come the stem cells, and the reducing cells of its stage and earlier.
        number = key.flat - 2 - (max(0, key.stage - 1) if extra_reductions else 0)
        return f"cell_{numbers[number]}" if number < len(numbers) else f"cell_<{number}>"

    def cell_name(key: CellKey) -> str:
        if key.part == "preprocess1":
            return f"{place(key)}.conv_1x1.{key.module}.{key.leaf}"
        if key.part == "preprocess0":
            inside = "" if "conv_1" in key.modules and not in_place else ".conv_prev_1x1"
            module = _REDUCTION[key.module] if "conv_1" in key.modules else key.module
            return f"{place(key)}{inside}.{module}.{key.leaf}"
        if not key.part.startswith("ops."):
            return f"{place(key)}.{key.part}.{key.module}.{key.leaf}"
        side = ("left", "right")[key.op % 2]
        module = _SEPARABLE.get(key.module, key.module)
        return f"{place(key)}.comb_iter_{key.op // 2}_{side}.{module}.{key.leaf}"

    top = {"stem": stem, "classifier": "last_linear"}
    return rename_cells(keys, top, cell_name)


def _without_background(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    classes = getattr(network, "num_classes", 0)
    kept = dict(tensors)
    for key in _CLASSIFIER:
        if key in kept and classes == 1000 and len(kept[key]) == 1001:
            kept[key] = kept[key][1:]
    return kept


NASNET = Format(
    name="nasnet",
    signature=r"^cell_stem_1\.conv_1x1\.conv\.weight$",
    names=dict.fromkeys(CELL_SPACES, _names),
    convert=dict.fromkeys(CELL_SPACES, _without_background),
)
