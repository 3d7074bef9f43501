"""The authors' files of single-path one-shot networks, and DSNAS' variant of them.

Source: megvii-model/SinglePathOneShot at 36eed6c, `src/Evaluation`, and
megvii-model/ShuffleNet-Series at aa91feb, `OneShot`; SNAS-Series/SNAS-Series at
9a43adb, `DSNAS/network_eval.py`. A branch is one flat sequence, so an index
counts convolutions, norms and activations; DSNAS adds the number of the chosen
block, and the architecture logits of its search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.format import Format

_TOP = (
    ("stem.conv.", "first_conv.0."),
    ("stem.bn.", "first_conv.1."),
    ("final.conv.", "conv_last.0."),
    ("final.bn.", "conv_last.1."),
    ("classifier.", "classifier.0."),
)
_BRANCHES = {"main": "branch_main", "shortcut": "branch_proj"}
# Where the units of a branch start: convolution and norm, after a 1×1 convolution an activation.
_STARTS = {2: (0, 2), 3: (0, 3, 5), 6: (0, 2, 5, 7, 10, 12)}
_MODULES = {"conv": 0, "bn": 1}
_UNIT = re.compile(r"stages\.(\d+)\.(\d+)\.(main|shortcut)\.(\d+)\.(conv|bn)\.(.+)")
_DSNAS_BLOCK = re.compile(r"^features\.(\d+)\.(\d+)\.branch_main\.")


def spos_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    """Return the authors' key for each key of a network."""
    del file_keys
    return _names(keys, lambda number: f"features.{number}")


def _dsnas_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    matches = [match for key in file_keys if (match := _DSNAS_BLOCK.match(key))]
    kinds = {int(match[1]): match[2] for match in matches}
    return _names(keys, lambda number: f"features.{number}.{kinds.get(number, '?')}")


def _names(keys: Sequence[str], block_name: Callable[[int], str]) -> dict[str, str]:
    units = {key: match for key in keys if (match := _UNIT.fullmatch(key))}
    places = sorted({(int(unit[1]), int(unit[2])) for unit in units.values()})
    lengths: dict[tuple[str, str, str], int] = {}
    for unit in units.values():
        lengths[unit[1], unit[2], unit[3]] = max(
            lengths.get((unit[1], unit[2], unit[3]), 0), int(unit[4]) + 1
        )
    renamed = {}
    for key in keys:
        if key in units:
            stage, index, branch, unit, module, leaf = units[key].groups()
            start = _STARTS[lengths[stage, index, branch]][int(unit)]
            block = block_name(places.index((int(stage), int(index))))
            renamed[key] = f"{block}.{_BRANCHES[branch]}.{start + _MODULES[module]}.{leaf}"
            continue
        for ours, theirs in _TOP:
            if key.startswith(ours):
                renamed[key] = theirs + key.removeprefix(ours)
    return renamed


def _drop_search_state(content: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    del network
    return {key: tensor for key, tensor in content.items() if key != "log_alpha"}


SPOS = Format(
    name="spos",
    signature=r"^features\.\d+\.branch_main\.0\.weight$",
    names={"ShuffleNetSpace": spos_names},
)

DSNAS = Format(
    name="dsnas",
    signature=_DSNAS_BLOCK.pattern,
    names={"ShuffleNetSpace": _dsnas_names},
    convert={"ShuffleNetSpace": _drop_search_state},
)
