"""The operators of cell spaces, by the names that the DARTS family gives them."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from zoo.layers.cell_modules import (
    FactorizedConvNorm,
    FactorizedReduce,
    OperatorStyle,
    Pooling,
    ReluConvNorm,
    SeparableConvNorm,
)


def make_operator(
    name: str, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    """Return the module of one edge; it keeps or halves the size, rounding up.

    Names are those of the DARTS family, such as `sep_conv_3x3`; see `OPERATORS`.
    """
    kind, kernel = _read_name(name)
    return _MAKERS[kind](kernel, in_channels, out_channels, stride, style)


def _make_skip(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if style.tensorflow:
        return ReluConvNorm(in_channels, out_channels, 1, stride, style=style)
    return FactorizedReduce(in_channels, out_channels, style=style)


def _make_avg_pool(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    return Pooling("avg", kernel, in_channels, out_channels, stride, style)


def _make_max_pool(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    return Pooling("max", kernel, in_channels, out_channels, stride, style)


def _make_separable(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    return nn.Sequential(
        SeparableConvNorm(in_channels, out_channels, kernel, stride, style=style),
        SeparableConvNorm(out_channels, out_channels, kernel, style=style),
    )


def _make_dilated_separable(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    return nn.Sequential(
        SeparableConvNorm(in_channels, out_channels, kernel, stride, 2, style=style),
        SeparableConvNorm(out_channels, out_channels, kernel, 1, 2, style=style),
    )


def _make_dilated(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    return SeparableConvNorm(in_channels, out_channels, kernel, stride, 2, style=style)


def _make_conv(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    if kernel > 1 and style.tensorflow:
        return _make_bottleneck([(kernel, kernel)], 1 / 4, in_channels, out_channels, stride, style)
    return ReluConvNorm(in_channels, out_channels, kernel, stride, style=style)


def _make_factorized(
    kernel: int, in_channels: int, out_channels: int, stride: int, style: OperatorStyle
) -> nn.Module:
    if not style.tensorflow:
        return FactorizedConvNorm(in_channels, out_channels, kernel, stride, style)
    share = 3 / 8 if kernel == 3 else 1 / 4
    kernels = [(1, kernel), (kernel, 1)]
    return _make_bottleneck(kernels, share, in_channels, out_channels, stride, style)


def _make_bottleneck(
    kernels: list[tuple[int, int]],
    share: float,
    in_channels: int,
    out_channels: int,
    stride: int,
    style: OperatorStyle,
) -> nn.Module:
    # tensorflow/tpu's AmoebaNet: dense convolutions work at a share of the width.
    width = max(1, int(out_channels * share))
    inner = [
        ReluConvNorm(
            width,
            width,
            (height, breadth),
            (stride if height > 1 else 1, stride if breadth > 1 else 1),
            style=style,
        )
        for height, breadth in kernels
    ]
    return nn.Sequential(
        ReluConvNorm(in_channels, width, 1, style=style),
        *inner,
        ReluConvNorm(width, out_channels, 1, style=style),
    )


_MAKERS: dict[str, Callable[[int, int, int, int, OperatorStyle], nn.Module]] = {
    "skip_connect": _make_skip,
    "avg_pool": _make_avg_pool,
    "max_pool": _make_max_pool,
    "conv": _make_conv,
    "conv_factorized": _make_factorized,
    "sep_conv": _make_separable,
    "dil_conv": _make_dilated,
    "dil_sep_conv": _make_dilated_separable,
}

OPERATORS = (
    "skip_connect",
    *("avg_pool_3x3", "avg_pool_5x5", "max_pool_2x2"),
    *("max_pool_3x3", "max_pool_5x5", "max_pool_7x7"),
    *("conv_1x1", "conv_3x3", "conv_5x5", "conv_3x1_1x3", "conv_7x1_1x7"),
    *("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"),
    *("dil_conv_3x3", "dil_conv_5x5", "dil_sep_conv_3x3", "dil_sep_conv_5x5"),
)


def _read_name(name: str) -> tuple[str, int]:
    if name == "skip_connect":
        return name, 1
    match = re.fullmatch(r"(\w+?)_(\d)x(\d)(_\dx\d)?", name)
    assert match, name
    return match[1] + ("_factorized" if match[4] else ""), int(match[2])
