"""Convolution, normalisation, activation: the unit every convolutional space is made of."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.layers.mixed_conv import make_mixed_conv

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hswish": nn.Hardswish,
    "swish": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "hsigmoid": nn.Hardsigmoid,
}


class BatchNormSettings:
    """Epsilon and momentum of every BatchNorm of a network; `enabled=False` for folded ones."""

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1, enabled: bool = True) -> None:
        self.eps = eps
        self.momentum = momentum
        self.enabled = enabled

    def make(self, channels: int) -> nn.Module:
        """Return the norm layer, or an identity where it is folded into the convolution."""
        if not self.enabled:
            return nn.Identity()
        return nn.BatchNorm2d(channels, eps=self.eps, momentum=self.momentum)


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
            conv = _make_conv_same if same_padding and stride > 1 else nn.Conv2d
            self.conv = conv(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding=kernel_size // 2,
                groups=groups,
                bias=not norm.enabled,
            )
        else:
            self.conv = make_mixed_conv(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                depthwise=groups > 1,
                bias=not norm.enabled,
                same_padding=same_padding,
            )
        self.bn = norm.make(out_channels)
        self.act = ACTIVATIONS[activation](inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


def _make_conv_same(*args: Any, **kwargs: Any) -> nn.Module:
    # Imported where it is needed: importing timm costs more than importing torch.
    from timm.layers.conv2d_same import Conv2dSame

    return Conv2dSame(*args, **kwargs)


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
