"""DARTS: cells of four nodes, all of them concatenated."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from zoo.spaces.nds import CellSpace


class DARTS(CellSpace, frozen=True, kw_only=True):
    """The space of DARTS, P-DARTS, PC-DARTS and many later searches.

    Source: DARTS, sections 2.1 and 3.1, https://arxiv.org/abs/1806.09055; code quark0/darts at
    f276dd3, `cnn/genotypes.py`, without its operator `none`, which no final cell has.

    `size()` of the default is (7^8 · (2 · 3 · 4 · 5)^2)^2 ≈ 6.9e21: seven operators on
    each of eight edges, two ordered inputs for each node, two cells. The paper counts
    unordered pairs of different inputs: (7^8 · 1 · 3 · 6 · 10)^2 ≈ 1.1e18.
    For CIFAR the papers use `width=36, num_cells=20`, for ImageNet `width=48,
    num_cells=14, dataset="imagenet"`; see `CellSpace` for all settings.
    """

    operators: Annotated[tuple[str, ...], Meta(min_length=1)] = (
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    )
