"""AmoebaNet: cells of five nodes, the unused ones concatenated."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from zoo.spaces.nds import CellSpace


class AmoebaNet(CellSpace, frozen=True, kw_only=True):
    """The space of regularized evolution: NASNet's, with other operators.

    Source: AmoebaNet, section 3.1, https://arxiv.org/abs/1802.01548; operators as in NDS,
    https://arxiv.org/abs/1905.13214, and NNI's `AmoebaNet`.

    `size()` of the default is (8^10 · (2 · 3 · 4 · 5 · 6)^2)^2 ≈ 3.1e29: eight operators on
    each of ten edges, two ordered inputs for each node, two cells.
    AmoebaNet-A to D as published (tensorflow/tpu) need `merge="chosen"`, B to D also more
    `operators`; `skeleton="nasnet"` builds them for ImageNet, with dense convolutions as
    bottlenecks.
    """

    nodes: Annotated[int, Meta(ge=1, le=20)] = 5
    merge: Literal["all", "loose_end", "chosen"] = "loose_end"
    operators: Annotated[tuple[str, ...], Meta(min_length=1)] = (
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "avg_pool_3x3",
        "max_pool_3x3",
        "dil_sep_conv_3x3",
        "conv_7x1_1x7",
    )
