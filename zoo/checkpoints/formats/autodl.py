"""AutoDL-Projects' NAS-Bench-201 files, as NAS-Bench-201 and NATS-Bench hand them out.

Source: D-X-Y/AutoDL-Projects at f46486e, `xautodl/models/cell_infers/tiny_network.py`.
Cells and the two residual blocks between stacks share one count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format

_TOP = (
    (r"^stem\.(\d)", r"stem.\1"),
    (r"^final\.0", "lastact.0"),
    (r"^classifier", "classifier"),
)
_INSIDE = (
    (r"^edges\.(\d)\.conv", r"layers.\1.op.1"),
    (r"^edges\.(\d)\.bn", r"layers.\1.op.2"),
    (r"^(conv_[ab])\.conv", r"\1.op.1"),
    (r"^(conv_[ab])\.bn", r"\1.op.2"),
    (r"^shortcut", "downsample.1"),
)


def cell_places(keys: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return (running cell number, key inside the cell) for every key under `stages.`."""
    places = {}
    for key in keys:
        if key.startswith("stages."):
            _, stage, index, rest = key.split(".", 3)
            places[key] = (int(stage), int(index), rest)
    numbers = {
        place: number
        for number, place in enumerate(
            sorted({(stage, index) for stage, index, _ in places.values()})
        )
    }
    return {key: (numbers[stage, index], rest) for key, (stage, index, rest) in places.items()}


def substitute(text: str, table: Sequence[tuple[str, str]]) -> str:
    """Return `text` after the first rule of the table whose pattern matches."""
    for pattern, template in table:
        if re.match(pattern, text):
            return re.sub(pattern, template, text)
    return text


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    cells = cell_places(keys)
    return {
        key: f"cells.{cells[key][0]}.{substitute(cells[key][1], _INSIDE)}"
        if key in cells
        else substitute(key, _TOP)
        for key in keys
    }


AUTODL = Format(
    name="autodl",
    signature=r"^cells\.\d+\.(layers\.\d\.op\.1|conv_a\.op\.1)\.weight$|^lastact\.0\.weight$",
    names={"NasBench201": _names},
)
