"""NASNet: cells of five nodes, the unused ones concatenated."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from zoo.spaces.nds import CellSpace


class NASNet(CellSpace, frozen=True, kw_only=True):
    """The space of NASNet's two cells.

    Source: NASNet, section 3, https://arxiv.org/abs/1707.07012; operators as in NDS,
    https://arxiv.org/abs/1905.13214, and NNI's `NASNet`.

    `size()` of the default is (13^10 · (2 · 3 · 4 · 5 · 6)^2)^2 ≈ 5.1e33: thirteen operators
    on each of ten edges, two ordered inputs for each node, two cells.
    The published cells also concatenate an input or a node that others read: `merge="chosen"`.
    NASNet-A 6 @ 4032 is `skeleton="nasnet", width=168, num_cells=18, stem_channels=96,
    skip_reduction_input=True`, NASNet-A 4 @ 1056 `width=44, num_cells=12`.
    """

    nodes: Annotated[int, Meta(ge=1, le=20)] = 5
    merge: Literal["all", "loose_end", "chosen"] = "loose_end"
    operators: Annotated[tuple[str, ...], Meta(min_length=1)] = (
        "skip_connect",
        "conv_3x1_1x3",
        "conv_7x1_1x7",
        "dil_conv_3x3",
        "avg_pool_3x3",
        "max_pool_3x3",
        "max_pool_5x5",
        "max_pool_7x7",
        "conv_1x1",
        "conv_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
    )
