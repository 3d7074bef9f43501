"""NAS-Bench-101 cells as the PyPI package nasbench-pytorch and as NNI write them.

Source: nasbench-pytorch 1.3.1, `nasbench_pytorch/model/model.py`; microsoft/nni at
767ed7f, `nni/nas/hub/pytorch/nasbench101.py`. The benchmark itself published no weights.
Both count cells and the poolings between stacks together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.format import Format

_CELL_KEY = re.compile(r"stages\.(\d+)\.(\d+)\.(operations|projections)\.(\d+)\.(conv|bn)\.(.+)")
_MODULES = {"conv": 0, "bn": 1}
_PLACEHOLDER = re.compile(r"layers\.\d+\.(dev_param|(vertex_op\.\d+|input_op\.\d+|last_inop)\.a)")
_LAST_PROJECTION = re.compile(r"(layers\.\d+)\.last_inop\.(.+)")


def _names(
    keys: Sequence[str], stem: str, cell_key: Callable[[int, str, str], str]
) -> dict[str, str]:
    """Return the file's key for each of the network's keys.

    Args:
        cell_key: Returns the file's prefix of one convolution from the number of its cell,
            `operations` or `projections`, and its vertex.
    """
    cells = {key: match for key in keys if (match := _CELL_KEY.fullmatch(key))}
    lengths: dict[int, int] = {}
    for cell in cells.values():
        lengths[int(cell[1])] = max(lengths.get(int(cell[1]), 0), int(cell[2]) + 1)
    starts = {stage: sum(lengths[s] for s in lengths if s < stage) for stage in lengths}
    renamed = {}
    for key in keys:
        if key in cells:
            stage, index, kind, vertex, module, leaf = cells[key].groups()
            prefix = cell_key(starts[int(stage)] + int(index), kind, vertex)
            renamed[key] = f"{prefix}.conv_bn_relu.{_MODULES[module]}.{leaf}"
        elif key.startswith("stem."):
            _, module, leaf = key.split(".", 2)
            renamed[key] = f"{stem}.conv_bn_relu.{_MODULES[module]}.{leaf}"
    return renamed


def _package_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    matches = (re.match(r"(layers\.\d+\.vertex_op\.\d+)\.(conv\dx\d)\.", key) for key in file_keys)
    kinds = {match[1]: match[2] for match in matches if match}

    def cell_key(number: int, kind: str, vertex: str) -> str:
        if kind == "projections":
            return f"layers.{number + 1}.input_op.{vertex}"
        prefix = f"layers.{number + 1}.vertex_op.{vertex}"
        return f"{prefix}.{kinds.get(prefix, 'conv?')}"

    return _names(keys, "layers.0", cell_key)


def nni_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    """Return NNI's key for each key of a network."""
    del file_keys
    parts = {"operations": "ops", "projections": "projections"}
    return _names(
        keys,
        "stem_conv",
        lambda number, kind, vertex: f"features.{number}.{parts[kind]}.{vertex}",
    )


def _drop_placeholders(content: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    # `last_inop` is the last `input_op` under a second name, and the one a load leaves in place.
    del network
    kept = {key: tensor for key, tensor in content.items() if not _PLACEHOLDER.fullmatch(key)}
    last_of: dict[str, int] = {}
    for key in content:
        match = re.match(r"(layers\.\d+)\.input_op\.(\d+)\.", key)
        if match:
            last_of[match[1]] = max(last_of.get(match[1], 0), int(match[2]))
    for key in [key for key in kept if _LAST_PROJECTION.fullmatch(key)]:
        layer, leaf = _LAST_PROJECTION.fullmatch(key).groups()  # pyright: ignore[reportOptionalMemberAccess]
        kept[f"{layer}.input_op.{last_of.get(layer, '?')}.{leaf}"] = kept.pop(key)
    return kept


def drop_unused_projections(content: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return NNI's tensors without projections to vertices that the input does not flow into."""
    wanted = set(nni_names(list(network.state_dict()), ()).values())
    return {
        key: tensor
        for key, tensor in content.items()
        if key in wanted or not re.match(r"features\.\d+\.projections\.\d+\.", key)
    }


NASBENCH_PYTORCH = Format(
    name="nasbench-pytorch",
    signature=r"^layers\.\d+\.(input_op|vertex_op|last_inop)\.",
    names={"NasBench101": _package_names},
    convert={"NasBench101": _drop_placeholders},
)
