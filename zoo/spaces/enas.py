"""ENAS: the micro space, cells of five nodes, the unused ones concatenated."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from zoo.errors import InvalidArchitecture
from zoo.spaces.base import Architecture
from zoo.spaces.nds import CELLS, CellSpace, read_numbers

# The numbers of the authors' `fixed_arc`.
MICRO_OPERATORS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")


class ENAS(CellSpace, frozen=True, kw_only=True):
    """ENAS' micro space: cells of five nodes, the unused ones concatenated.

    Source: ENAS, section 2.4, https://arxiv.org/abs/1802.03268; operators as in NNI's `ENAS`.
    Besides genotypes it reads the authors' `fixed_arc`: for each node
    `input operator input operator`, first the normal, then the reducing cell.

    `size()` of the default is (5^10 · (2 · 3 · 4 · 5 · 6)^2)^2 ≈ 2.6e25: five operators on
    each of ten edges, two ordered inputs for each node, two cells. The paper's
    own count is (5 · 5!)^4 ≈ 1.3e11.
    """

    nodes: Annotated[int, Meta(ge=1, le=20)] = 5
    merge: Literal["all", "loose_end", "chosen"] = "loose_end"
    operators: Annotated[tuple[str, ...], Meta(min_length=1)] = MICRO_OPERATORS

    def read_notation(self, text: str) -> Architecture | None:
        numbers = read_numbers(text)
        if numbers is None:
            return super().read_notation(text)
        if len(numbers) != 8 * self.nodes or max(numbers[1::2]) >= len(MICRO_OPERATORS):
            raise InvalidArchitecture(
                f"ENAS: expected {8 * self.nodes} numbers, input and operator (below "
                f"{len(MICRO_OPERATORS)}) of every edge, got {text.strip()[:80]!r}"
            )
        architecture: Architecture = {}
        for number, cell in enumerate(CELLS):
            half = numbers[4 * self.nodes * number :]
            for edge in range(2 * self.nodes):
                place = f"{edge // 2 + 2}_{edge % 2}"
                architecture[f"{cell}/op_{place}"] = MICRO_OPERATORS[half[2 * edge + 1]]
                architecture[f"{cell}/input_{place}"] = half[2 * edge]
        return architecture
