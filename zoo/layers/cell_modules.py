"""The modules that the operators of cell spaces consist of.

None of them changes its input in place: several edges read one node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.layers import conv
from zoo.layers.conv import BatchNormSettings


@dataclass(frozen=True)
class OperatorStyle:
    """What the operators of one network have in common.

    Args:
        tensorflow: SAME padding (one more pixel right and below at stride 2 of even sizes),
            1×1 convolutions where widths differ, and bottlenecks around dense convolutions.
        pool_norm: BatchNorm behind every pooling.
        pool_counts_padding: Average pooling of stride 2 counts padding as zeros.
    """

    norm: BatchNormSettings = field(default_factory=BatchNormSettings)
    tensorflow: bool = False
    pool_norm: bool = False
    pool_counts_padding: bool = False


class Conv2d(conv.Conv2d):
    """Convolution without bias whose output has ceil(size / stride) pixels.

    Args:
        same: Pad as TensorFlow's SAME does; otherwise (k − 1) / 2 pixels on every side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        same: bool = False,
    ) -> None:
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=(dilation * (kernel[0] - 1) // 2, dilation * (kernel[1] - 1) // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.same = same

    def forward(self, input: Tensor) -> Tensor:
        if not self.same or self.stride == (1, 1):
            return super().forward(input)
        tops, sides = (
            same_padding(
                input.shape[axis + 2],
                self.dilation[axis] * (self.kernel_size[axis] - 1) + 1,
                self.stride[axis],
            )
            for axis in (0, 1)
        )
        padded = functional.pad(input, (*sides, *tops))
        return functional.conv2d(
            padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many pixels TensorFlow's SAME puts before and after `size` pixels."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ReluConvNorm(nn.Module):
    """ReLU, convolution, BatchNorm; `conv` and `bn` are checkpoint keys."""

    folds = (("conv", "bn"),)  # see `zoo.optimizing.folding`

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        *,
        style: OperatorStyle,
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, same=style.tensorflow)
        self.bn = style.norm.make(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self.relu(x)))


class SeparableConvNorm(nn.Module):
    """ReLU, depthwise and 1×1 convolution, BatchNorm.

    `depthwise`, `pointwise` and `bn` are checkpoint keys.
    """

    folds = (("pointwise", "bn"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        *,
        style: OperatorStyle,
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.depthwise = Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            stride,
            dilation=dilation,
            groups=in_channels,
            same=style.tensorflow,
        )
        self.pointwise = Conv2d(in_channels, out_channels, 1)
        self.bn = style.norm.make(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.pointwise(self.depthwise(self.relu(x))))


class FactorizedConvNorm(nn.Module):
    """ReLU, 1×k and k×1 convolution, BatchNorm; `conv_a`, `conv_b`, `bn` are checkpoint keys."""

    folds = (("conv_b", "bn"),)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        style: OperatorStyle,
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_a = Conv2d(in_channels, out_channels, (1, kernel_size), (1, stride))
        self.conv_b = Conv2d(out_channels, out_channels, (kernel_size, 1), (stride, 1))
        self.bn = style.norm.make(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv_b(self.conv_a(self.relu(x))))


class FactorizedReduce(nn.Module):
    """Halve the size: two 1×1 convolutions of stride 2, one a pixel further, and BatchNorm.

    `conv_1`, `conv_2` and `bn` are checkpoint keys. Odd sizes are padded right and below.

    Shapes:
        x: (batch, in_channels, height, width)
        returns: (batch, out_channels, ceil(height / 2), ceil(width / 2))
    """

    folds = (("conv_1", "conv_2", "bn"),)

    def __init__(
        self, in_channels: int, out_channels: int, *, style: OperatorStyle, relu: bool = True
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.conv_1 = Conv2d(in_channels, out_channels // 2, 1, 2)
        self.conv_2 = Conv2d(in_channels, out_channels - out_channels // 2, 1, 2)
        self.bn = style.norm.make(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        # A crop of one pixel before, a padding of one pixel after.
        shifted = functional.pad(x, (-1, x.shape[3] % 2, -1, x.shape[2] % 2))
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], 1))


class Pooling(nn.Module):
    """Max or average pooling; padding never wins and, unless asked for, never counts.

    `conv` and `bn`, present where the width changes or the style asks for them, are
    checkpoint keys.
    """

    folds = (("conv", "bn"),)

    def __init__(
        self,
        kind: str,
        kernel_size: int,
        in_channels: int,
        out_channels: int,
        stride: int,
        style: OperatorStyle,
    ) -> None:
        super().__init__()
        self.kind, self.kernel_size, self.stride = kind, kernel_size, stride
        self.same = stride > 1 and (style.tensorflow or kernel_size % 2 == 0)
        self.counts_padding = style.pool_counts_padding and stride > 1
        self.conv: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.conv = Conv2d(in_channels, out_channels, 1)
        has_norm = style.pool_norm or in_channels != out_channels
        self.bn = style.norm.make(out_channels) if has_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self._pool(x)))

    def _pool(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size, self.stride
        if stride == 1 and kernel % 2 == 0:
            # The edge repeated: the largest value of a window stays what it is.
            x = functional.pad(x, (0, kernel - 1, 0, kernel - 1), mode="replicate")
            return functional.max_pool2d(x, kernel, 1)
        padding = (kernel // 2, kernel // 2)
        if self.same:
            tops, sides = (same_padding(size, kernel, stride) for size in x.shape[2:])
            if self.kind == "avg" and self.counts_padding:
                return functional.avg_pool2d(functional.pad(x, (*sides, *tops)), kernel, stride)
            # Windows that reach over the end (ceil_mode) are SAME's additional pixel.
            padding = (tops[0], sides[0])
        if self.kind == "max":
            return functional.max_pool2d(x, kernel, stride, padding, ceil_mode=self.same)
        return functional.avg_pool2d(
            x, kernel, stride, padding, self.same, count_include_pad=self.counts_padding
        )
