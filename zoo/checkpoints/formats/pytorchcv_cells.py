"""pytorchcv's files of networks made of cells: NASNet, PNASNet and DARTS for ImageNet.

Source: osmr/imgclsmob, PyPI pytorchcv 0.0.74, `pytorchcv/models/{nasnet,pnasnet,darts}.py`.
Its stages start where the size is halved, so cells correspond in order; each family has
words of its own for the parts of a cell, which are read from the keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.cell_keys import CELL_SPACES, CellKey, rename_cells
from zoo.checkpoints.formats.format import Format

# A cell is a unit of a stage, or a stem of NASNet; DARTS' stems are plain convolutions.
_CELL = re.compile(r"^features\.(?:stem(\d)_unit(?=\.conv_?1x1)|stage(\d+)\.unit(\d+))\.")
_TOP = {
    "stem": "features.init_block",
    "stem.conv_1": "features.stem1_unit.conv1.conv",
    "stem.bn_1": "features.stem1_unit.conv1.bn",
    "stem.conv_2": "features.stem1_unit.conv2.conv",
    "stem.bn_2": "features.stem1_unit.conv2.bn",
    "stages.0.0.conv": "features.stem2_unit.conv",
    "stages.0.0.bn": "features.stem2_unit.bn",
}
# The words of NASNet, PNASNet and DARTS, by a part that every cell has.
_WORDS = {
    "conv1x1": {"older": "conv1x1_prev", "halved": "path", "path": "path{}.conv"},
    "conv_1x1": {"older": "conv_prev_1x1", "halved": "conv_prev_1x1", "path": "path{}.conv"},
    "preprocess": {"older": "preprocess_prev", "halved": "preprocess_prev", "path": "conv{}"},
}
_UNIT = {"depthwise": "conv.dw_conv", "pointwise": "conv.pw_conv"}
_REPEATED = {"0": "conv1.", "1": "conv2."}


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    matches = [match for key in file_keys if (match := _CELL.match(key))]
    places = sorted({(int(m[2] or 0), int(m[3] or m[1]), m[0]) for m in matches})
    newer = next((word for word in _WORDS if _has_part(word, file_keys)), "conv1x1")
    words = _WORDS[newer]

    def cell_name(key: CellKey) -> str:
        place = places[key.flat][2] if key.flat < len(places) else f"<{key.flat}th cell>."
        if key.part == "preprocess1":
            return f"{place}{newer}.{key.module}.{key.leaf}"
        halved = "conv_1" in key.modules
        if key.part == "preprocess0":
            part = words["halved" if halved else "older"]
        elif newer == "preprocess":
            part = f"body.{key.part}"
        else:
            part = f"comb{key.op // 2}_{('left', 'right')[key.op % 2]}"
        if halved and key.module != "bn":
            return f"{place}{part}.{words['path'].format(key.module[-1])}.{key.leaf}"
        number, _, module = key.module.rpartition(".")
        return f"{place}{part}.{_REPEATED.get(number, '')}{_UNIT.get(module, module)}.{key.leaf}"

    classifier = "output.fc" if "output.fc.weight" in file_keys else "output"
    return rename_cells(keys, {**_TOP, "classifier": classifier}, cell_name)


def _has_part(word: str, file_keys: Collection[str]) -> bool:
    return any(f".{word}." in key for key in file_keys)


PYTORCHCV_CELLS = Format(
    name="pytorchcv-cells",
    signature=r"^features\.stage1\.unit1\.(conv_?1x1|preprocess)\.conv\.weight$",
    names=dict.fromkeys(CELL_SPACES, _names),
)
