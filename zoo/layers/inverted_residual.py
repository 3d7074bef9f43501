"""The inverted residual block (MBConv) of the mobile spaces."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from zoo.layers.conv import ACTIVATIONS, BatchNormSettings, ConvNormAct


@dataclass(frozen=True)
class BlockPlan:
    """One inverted residual, every number decided.

    `hidden_channels` None leaves the widening convolution out (a depthwise
    separable block); `squeeze_channels` 0 leaves squeeze-and-excite out.
    """

    out_channels: int
    kernel_size: int
    stride: int
    activation: str
    hidden_channels: int | None = None
    squeeze_channels: int = 0


class InvertedResidual(nn.Module):
    """Widen, filter each channel, gate, narrow; add the input back when shapes agree.

    Source: MobileNetV2, section 3.3, https://arxiv.org/abs/1801.04381; squeeze-and-excite
    after the depthwise activation as in MobileNetV3, https://arxiv.org/abs/1905.02244.
    `expand`, `depthwise`, `squeeze_excite` and `project` are checkpoint keys.

    Args:
        drop_path: Probability of leaving the block out of a training sample (stochastic depth).

    Shapes:
        images: (batch, in_channels, height, width)
        returns: (batch, out_channels, ceil(height / stride), ceil(width / stride))
    """

    def __init__(
        self, in_channels: int, plan: BlockPlan, *, norm: BatchNormSettings, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        hidden = plan.hidden_channels or in_channels
        self.residual = plan.stride == 1 and in_channels == plan.out_channels
        self.expand: nn.Module = nn.Identity()
        if plan.hidden_channels is not None:
            self.expand = ConvNormAct(in_channels, hidden, 1, norm=norm, activation=plan.activation)
        self.depthwise = ConvNormAct(
            hidden,
            hidden,
            plan.kernel_size,
            norm=norm,
            stride=plan.stride,
            groups=hidden,
            activation=plan.activation,
        )
        self.squeeze_excite = make_squeeze_excite(hidden, plan.squeeze_channels)
        self.project = ConvNormAct(hidden, plan.out_channels, 1, norm=norm)
        self.drop_path = make_drop_path(drop_path if self.residual else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.squeeze_excite(self.depthwise(self.expand(x))))
        return x + self.drop_path(out) if self.residual else out


def make_squeeze_excite(channels: int, squeeze_channels: int) -> nn.Module:
    """Return timm's layer with a hard-sigmoid gate, or an identity for 0 channels."""
    if not squeeze_channels:
        return nn.Identity()
    # Imported where it is needed: importing timm costs more than importing torch.
    from timm.layers.squeeze_excite import SqueezeExcite

    return SqueezeExcite(
        channels,
        rd_channels=squeeze_channels,
        act_layer=ACTIVATIONS["relu"],
        gate_layer=nn.Hardsigmoid,
    )


def make_drop_path(probability: float) -> nn.Module:
    """Return timm's stochastic depth, or an identity for probability 0."""
    if probability == 0.0:
        return nn.Identity()
    from timm.layers.drop import DropPath

    return DropPath(probability)
