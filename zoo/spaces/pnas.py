"""PNAS: cells of five nodes, all of them concatenated."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from zoo.spaces.nds import CellSpace


class PNAS(CellSpace, frozen=True, kw_only=True):
    """The space of progressive search.

    Source: PNAS, section 3.1, https://arxiv.org/abs/1712.00559; code tensorflow/models
    `research/slim/nets/nasnet/pnasnet.py`; operators as in NNI's `PNAS`.

    `size()` of the default is (8^10 · (2 · 3 · 4 · 5 · 6)^2)^2 ≈ 3.1e29: eight operators on
    each of ten edges, two ordered inputs for each node, two cells. The paper searches one
    cell, used with stride 1 and 2, so PNASNet-5 has two equal cells.
    PNASNet-5 large is `skeleton="pnasnet", width=216, num_cells=12, stem_channels=96`,
    PNASNet-5 mobile `width=54, num_cells=9`.
    """

    nodes: Annotated[int, Meta(ge=1, le=20)] = 5
    operators: Annotated[tuple[str, ...], Meta(min_length=1)] = (
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "conv_7x1_1x7",
        "skip_connect",
        "avg_pool_3x3",
        "max_pool_3x3",
        "dil_conv_3x3",
    )
