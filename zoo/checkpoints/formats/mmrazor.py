"""MMRazor's retrained DARTS networks.

Source: open-mmlab/mmrazor at 90c7af1, `models/architectures/components/backbones/
darts_backbone.py`, `models/ops/darts_series.py`. They have a BatchNorm behind every
pooling. A node's edges are named after operator and source; a file says nothing of
edges without parameters, so two edges with parameters are taken in the order of their
sources.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.cell_keys import CELL_SPACES, CellKey, parse_cell_keys, rename_cells
from zoo.checkpoints.formats.format import Format

_EDGE = re.compile(
    r"^architecture\.backbone\.cells\.(\d+)\.nodes\.(\d+)\.(edges\.choices\.\w+_p(\d+)\.0\.choices\.\w+)\."
)
_TOP = {
    "stem.conv": "architecture.backbone.stem.0",
    "stem.bn": "architecture.backbone.stem.1",
    "classifier": "architecture.head.fc",
}
_AUXILIARY = re.compile(
    r"^architecture\.(backbone\.auxliary_module\.net\.\d+|head\.aux_linear)\.\w+$"
)
_SEQUENCE_STARTS = {"0": "conv1", "1": "conv2"}
_UNIT = {"depthwise": 1, "pointwise": 2, "bn": 3}


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    in_file: dict[tuple[int, int], set[tuple[int, str]]] = {}
    for key in file_keys:
        if match := _EDGE.match(key):
            node = in_file.setdefault((int(match[1]), int(match[2])), set())
            node.add((int(match[4]), match[3]))
    with_parameters: dict[tuple[int, int], list[int]] = {}
    for cell in parse_cell_keys(keys).values():
        if cell.part.startswith("ops."):
            edges = with_parameters.setdefault((cell.flat, cell.op // 2), [])
            if cell.op not in edges:
                edges.append(cell.op)

    def cell_name(key: CellKey) -> str:
        place = f"architecture.backbone.cells.{key.flat}"
        if not key.part.startswith("ops."):
            return f"{place}.{key.part.replace('preprocess', 'preproc')}.{_module(key, 'net')}"
        node = (key.flat, key.op // 2)
        names = [name for _, name in sorted(in_file.get(node, ()))]
        rank = sorted(with_parameters[node]).index(key.op)
        edge = names[rank] if rank < len(names) else f"edges.choices.<{rank}>"
        return f"{place}.nodes.{key.op // 2}.{edge}.{_module(key, 'conv1')}"

    return rename_cells(keys, _TOP, cell_name)


def _module(key: CellKey, sequence: str) -> str:
    if key.modules == {"bn"}:
        return f"bn.{key.leaf}"
    if "conv_1" in key.modules:
        return f"{key.module.replace('_', '')}.{key.leaf}"
    number, _, module = key.module.rpartition(".")
    if number:
        return f"{_SEQUENCE_STARTS[number]}.{_UNIT[module]}.{key.leaf}"
    return f"{sequence}.{key.in_sequence()}"


def _set_auxiliary_aside(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    del network
    return {key: value for key, value in tensors.items() if not _AUXILIARY.match(str(key))}


MMRAZOR = Format(
    name="mmrazor",
    signature=r"^architecture\.backbone\.cells\.\d+\.preproc1\.net\.1\.weight$",
    names=dict.fromkeys(CELL_SPACES, _names),
    convert=dict.fromkeys(CELL_SPACES, _set_auxiliary_aside),
)
