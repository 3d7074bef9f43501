"""Convolution, normalisation, activation: the unit every convolutional space is made of."""

from __future__ import annotations

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hswish": nn.Hardswish,
    "swish": nn.SiLU,
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
    """Convolution with padding (k−1)/2, BatchNorm, activation.

    `conv` and `bn` are checkpoint keys. Without BatchNorm the convolution has a bias.

    Args:
        activation: A key of `ACTIVATIONS`; None for none.

    Shapes:
        images: (batch, in_channels, height, width)
        returns: (batch, out_channels, ceil(height / stride), ceil(width / stride))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        norm: BatchNormSettings,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=not norm.enabled,
        )
        self.bn = norm.make(out_channels)
        self.act = ACTIVATIONS[activation](inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))
