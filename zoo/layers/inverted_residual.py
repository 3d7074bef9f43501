"""The inverted residual block (MBConv) of the mobile spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from zoo.layers.conv import ACTIVATIONS, BatchNormSettings, ConvNormAct, initialize_convs


@dataclass(frozen=True)
class GatePlan:
    """Squeeze-and-excite, every number decided; `activation` and `gate` are activation names.

    `before_activation` puts it between the depthwise norm and the activation behind it.
    """

    channels: int
    activation: str = "relu"
    gate: str = "hsigmoid"
    before_activation: bool = False


@dataclass(frozen=True)
class BlockPlan:
    """One inverted residual, every number decided.

    `hidden_channels` None leaves the widening convolution out (a depthwise
    separable block); `gate` None leaves squeeze-and-excite out; `residual`
    False leaves the addition out even where shapes agree. Several kernel sizes
    make a mixed convolution; `expand_splits` and `project_splits` are the parts
    of the widening and the narrowing convolution. `fused` widens and filters in one
    convolution, with all channels mixed (EdgeTPU networks).
    """

    out_channels: int
    kernel_size: int | tuple[int, ...]
    stride: int
    activation: str
    hidden_channels: int | None = None
    gate: GatePlan | None = None
    residual: bool = True
    expand_splits: int = 1
    project_splits: int = 1
    fused: bool = False


class InvertedResidual(nn.Module):
    """Widen, filter each channel, gate, narrow; add the input back when shapes agree.

    Source: MobileNetV2, section 3.3, https://arxiv.org/abs/1801.04381; squeeze-and-excite
    after the depthwise activation as in MobileNetV3, https://arxiv.org/abs/1905.02244.
    `expand`, `depthwise`, `squeeze_excite` and `project` are checkpoint keys.

    Args:
        drop_path: Probability of leaving the block out of a training sample (stochastic depth).
        same_padding: See `ConvNormAct`.

    Shapes:
        images: (batch, in_channels, height, width)
        returns: (batch, out_channels, ceil(height / stride), ceil(width / stride))
    """

    def __init__(
        self,
        in_channels: int,
        plan: BlockPlan,
        *,
        norm: BatchNormSettings,
        drop_path: float = 0.0,
        same_padding: bool = False,
    ) -> None:
        super().__init__()
        hidden = plan.hidden_channels or in_channels
        self.residual = plan.residual and plan.stride == 1 and in_channels == plan.out_channels
        self.expand: nn.Module = nn.Identity()
        self.depthwise: nn.Module = nn.Identity()
        gate_first = plan.gate is not None and plan.gate.before_activation
        filtering: dict[str, Any] = {
            "kernel_size": plan.kernel_size,
            "norm": norm,
            "stride": plan.stride,
            "activation": None if gate_first else plan.activation,
            "same_padding": same_padding,
        }
        if plan.fused:
            self.expand = ConvNormAct(in_channels, hidden, **filtering)
        else:
            if plan.hidden_channels is not None:
                kernel = _pointwise_kernel(plan.expand_splits)
                self.expand = ConvNormAct(
                    in_channels, hidden, kernel, norm=norm, activation=plan.activation
                )
            self.depthwise = ConvNormAct(hidden, hidden, groups=hidden, **filtering)
        self.squeeze_excite = make_squeeze_excite(hidden, plan.gate)
        self.gated_act: nn.Module = nn.Identity()
        if gate_first:
            self.gated_act = ACTIVATIONS[plan.activation](inplace=True)
        kernel = _pointwise_kernel(plan.project_splits)
        self.project = ConvNormAct(hidden, plan.out_channels, kernel, norm=norm)
        self.drop_path = make_drop_path(drop_path if self.residual else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.gated_act(self.squeeze_excite(self.depthwise(self.expand(x))))
        out = self.project(out)
        return x + self.drop_path(out) if self.residual else out


def _pointwise_kernel(splits: int) -> int | tuple[int, ...]:
    return 1 if splits == 1 else (1,) * splits


def make_squeeze_excite(channels: int, plan: GatePlan | None) -> nn.Module:
    """Return timm's squeeze-and-excite layer, or an identity where there is none."""
    if plan is None:
        return nn.Identity()
    # Imported where it is needed: importing timm costs more than importing torch.
    from timm.layers.squeeze_excite import SqueezeExcite

    gate = SqueezeExcite(
        channels,
        rd_channels=plan.channels,
        act_layer=ACTIVATIONS[plan.activation],
        gate_layer=ACTIVATIONS[plan.gate],
    )
    return initialize_convs(gate)


def make_drop_path(probability: float) -> nn.Module:
    """Return timm's stochastic depth, or an identity for probability 0."""
    if probability == 0.0:
        return nn.Identity()
    from timm.layers.drop import DropPath

    return DropPath(probability)
