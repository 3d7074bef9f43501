"""Take the keys of a `CellNetwork` apart, so that formats can spell them their way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zoo.checkpoints.formats.format import rename_by_prefix

CELL_SPACES = ("AmoebaNet", "DARTS", "ENAS", "NASNet", "PNAS")

_CELL_KEY = re.compile(
    r"stages\.(\d+)\.(\d+)\.(preprocess[01]|ops\.\d+|merge\.[01])\.(.+)\.([^.]+)"
)
# What a part consists of, and where it stands in a flat sequence that counts activations.
_SEQUENCES = (
    {"conv": 1, "bn": 2},
    {"depthwise": 1, "pointwise": 2, "bn": 3},
    {"conv_a": 1, "conv_b": 2, "bn": 3},
    {
        "0.depthwise": 1,
        "0.pointwise": 2,
        "0.bn": 3,
        "1.depthwise": 5,
        "1.pointwise": 6,
        "1.bn": 7,
    },
)


class CellKey(NamedTuple):
    """One key inside a cell, such as `stages.2.1.ops.3.0.depthwise.weight`.

    `stage` and `flat` count the stages and the cells that have cells in them. `part` is
    `preprocess0`, `ops.3` …; `modules` are all modules of the part, `module` the key's
    (`0.depthwise`), `leaf` is `weight` ….
    """

    stage: int
    index: int
    flat: int
    part: str
    modules: frozenset[str]
    module: str
    leaf: str

    @property
    def op(self) -> int:
        """The number of the edge; only for parts `ops.K`."""
        return int(self.part.removeprefix("ops."))

    def in_sequence(self) -> str | None:
        """Return place in a flat sequence and leaf, `2.weight`; None for other parts."""
        for places in _SEQUENCES:
            if places.keys() == self.modules:
                return f"{places[self.module]}.{self.leaf}"
        return None


def rename_cells(
    keys: Sequence[str], top: dict[str, str], cell_name: Callable[[CellKey], str]
) -> dict[str, str]:
    """Return the file's key for each key.

    Args:
        top: The file's prefix for each prefix outside of cells.
        cell_name: The file's key for a key inside a cell.
    """
    cells = parse_cell_keys(keys)
    return rename_by_prefix(keys, top, {key: cell_name(cell) for key, cell in cells.items()})


def parse_cell_keys(keys: Sequence[str]) -> dict[str, CellKey]:
    """Return the parts of every key inside a cell, by key."""
    matches = {key: match for key in keys if (match := _CELL_KEY.fullmatch(key))}
    modules: dict[tuple[str, ...], set[str]] = {}
    for match in matches.values():
        modules.setdefault(match.group(1, 2, 3), set()).add(match[4])
    places = sorted({(int(match[1]), int(match[2])) for match in matches.values()})
    first_stage = places[0][0] if places else 0
    flat = {place: number for number, place in enumerate(places)}
    return {
        key: CellKey(
            int(match[1]) - first_stage,
            int(match[2]),
            flat[int(match[1]), int(match[2])],
            match[3],
            frozenset(modules[match.group(1, 2, 3)]),
            match[4],
            match[5],
        )
        for key, match in matches.items()
    }
