"""The network of inverted residuals that ProxylessNAS and MobileNetV3Space build."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from zoo.layers.conv import ACTIVATIONS, BatchNormSettings, ConvNormAct
from zoo.layers.inverted_residual import BlockPlan, InvertedResidual
from zoo.networks.network import (
    Network,
    describe_features,
    make_classifier,
)


@dataclass(frozen=True)
class ConvPlan:
    """One convolution with norm and activation, every number decided."""

    out_channels: int
    kernel_size: int
    stride: int
    activation: str


@dataclass(frozen=True)
class MobilePlan:
    """A whole mobile network, every number decided; a space turns choices into this.

    A stage is a list of inverted residuals, or one plain convolution.
    `final` stands between the last stage and the pooling, `hidden` is a linear
    layer (channels, activation, whether it has a bias) between pooling and classifier.
    """

    stem: ConvPlan
    stages: tuple[tuple[BlockPlan | ConvPlan, ...], ...]
    final: ConvPlan | None = None
    hidden: tuple[int, str, bool] | None = None
    norm: BatchNormSettings = field(default_factory=BatchNormSettings)
    drop_path: float = 0.0
    same_padding: bool = False


class MobileNetwork(Network):
    """Stem, stages of inverted residuals, 1×1 convolution, pooling, classifier.

    `stem`, `stages.S.B`, `final`, `hidden.fc`, `classifier` are checkpoint keys.
    """

    def __init__(
        self, plan: MobilePlan, *, num_classes: int, in_chans: int, dropout: float
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.stem = _make_conv(in_chans, plan.stem, plan)
        channels, reduction = plan.stem.out_channels, plan.stem.stride
        shapes: list[tuple[int, int]] = []
        depth, total = 0, sum(map(len, plan.stages))
        self.stages = nn.ModuleList()
        for blocks in plan.stages:
            stage = nn.Sequential()
            for block in blocks:
                # Stochastic depth grows linearly with depth, as in timm's EfficientNets.
                stage.append(_make_block(channels, block, plan, plan.drop_path * depth / total))
                channels, reduction = block.out_channels, reduction * block.stride
                depth += 1
            self.stages.append(stage)
            shapes.append((channels, reduction))
        self.stage_shapes = tuple(shapes)
        self.feature_info = describe_features(shapes, (plan.stem.out_channels, plan.stem.stride))
        self.final: nn.Module = nn.Identity()
        if plan.final:
            self.final = _make_conv(channels, plan.final, plan)
            channels = plan.final.out_channels
        self.num_features = channels
        self.hidden: nn.Module = nn.Identity()
        if plan.hidden:
            self.hidden = Hidden(channels, *plan.hidden)
            channels = plan.hidden[0]
        self.head_hidden_size = channels
        self.classifier = make_classifier(channels, num_classes)


class Hidden(nn.Module):
    """Linear layer and activation between pooling and classifier; `fc` is a checkpoint key."""

    def __init__(self, in_features: int, out_features: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, out_features, bias=bias)
        self.act = ACTIVATIONS[activation](inplace=True)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.act(self.fc(pooled))


def _make_conv(in_channels: int, conv: ConvPlan, plan: MobilePlan) -> ConvNormAct:
    return ConvNormAct(
        in_channels,
        conv.out_channels,
        conv.kernel_size,
        norm=plan.norm,
        stride=conv.stride,
        activation=conv.activation,
        same_padding=plan.same_padding,
    )


def _make_block(
    in_channels: int, block: BlockPlan | ConvPlan, plan: MobilePlan, drop_path: float
) -> nn.Module:
    if isinstance(block, ConvPlan):
        return _make_conv(in_channels, block, plan)
    return InvertedResidual(
        in_channels,
        block,
        norm=plan.norm,
        drop_path=drop_path,
        same_padding=plan.same_padding,
    )
