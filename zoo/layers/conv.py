"""Convolution, normalisation, activation: the unit every convolutional space is made of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from zoo.layers.empty import make_or_copy
from zoo.layers.mixed_conv import make_mixed_conv

M = TypeVar("M", bound=nn.Module)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hswish": nn.Hardswish,
    "swish": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "hsigmoid": nn.Hardsigmoid,
}


@dataclass(frozen=True)
class BatchNormSettings:
    """Epsilon and momentum of every BatchNorm of a network; `enabled=False` for folded ones."""

    eps: float = 1e-5
    momentum: float = 0.1
    enabled: bool = True

    def make(self, channels: int) -> nn.Module:
        """Return the norm layer, or an identity where it is folded into the convolution."""
        if not self.enabled:
            return nn.Identity()
        return make_or_copy(nn.BatchNorm2d, channels, eps=self.eps, momentum=self.momentum)


class Conv2d(nn.Conv2d):
    """A convolution that starts with He-normal weights (fan-out) and zero bias.

    PyTorch's would draw every weight twice: first as it likes, then as the networks here do.
    """

    def reset_parameters(self) -> None:
        initialize_conv(self)


def initialize_conv(conv: nn.Conv2d) -> None:
    """Set He-normal weights (fan-out) and zero bias."""
    fan_out = conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels
    nn.init.normal_(conv.weight, std=(2.0 * conv.groups / fan_out) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def initialize_convs(layer: M) -> M:
    """Return a layer of timm's, its convolutions starting as `Conv2d` does."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            initialize_conv(module)
    return layer


class ConvNormAct(nn.Module):
    """Convolution with padding (k−1)/2 or TensorFlow's, BatchNorm, activation.

    `conv` and `bn` are checkpoint keys. Without BatchNorm the convolution has a bias.

    Args:
        kernel_size: Several for a mixed convolution, which splits the channels among them.
        groups: 1, or `in_channels` for a depthwise convolution.
        activation: A key of `ACTIVATIONS`; None for none.
        same_padding: TensorFlow's rule: with stride 2 an even size gets its padding at the
            bottom and right only.

    Shapes:
        images: (batch, in_channels, height, width)
        returns: (batch, out_channels, ceil(height / stride), ceil(width / stride))
    """

    folds = (("conv", "bn"),)  # see `zoo.optimizing.folding`

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        norm: BatchNormSettings,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = None,
        same_padding: bool = False,
    ) -> None:
        super().__init__()
        self.conv: nn.Module
        if isinstance(kernel_size, int):
            # At stride 1 both rules pad alike.
            same_padding = same_padding and stride > 1
            make = _make_conv_same if same_padding else functools.partial(make_or_copy, Conv2d)
            self.conv = make(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding=kernel_size // 2,
                groups=groups,
                bias=not norm.enabled,
            )
        else:
            mixed = make_mixed_conv(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                depthwise=groups > 1,
                bias=not norm.enabled,
                same_padding=same_padding,
            )
            self.conv = initialize_convs(mixed)
        self.bn = norm.make(out_channels)
        self.act = ACTIVATIONS[activation](inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


def _make_conv_same(*args: Any, **kwargs: Any) -> nn.Module:
    # Imported where it is needed: importing timm costs more than importing torch.
    from timm.layers.conv2d_same import Conv2dSame

    return initialize_convs(Conv2dSame(*args, **kwargs))


def adapt_input_weight(weight: Tensor, in_channels: int) -> Tensor:
    """Return a convolution's weight for another number of input channels.

    One channel gets the sum over all; more repeat them in turn, scaled so that the
    response to equal channels stays.
    Source: `adapt_input_conv` of timm, whose private module costs seconds to import.

    Shapes:
        weight: (out_channels, published in_channels, kernel, kernel)
        returns: (out_channels, in_channels, kernel, kernel)
    """
    published = weight.shape[1]
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-in_channels // published)
    return weight.repeat(1, repeats, 1, 1)[:, :in_channels] * (published / in_channels)
