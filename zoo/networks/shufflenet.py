"""The network of ShuffleNetSpace: channels split in two, one half worked on, both joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.layers.conv import BatchNormSettings, ConvNormAct
from zoo.networks.network import (
    Network,
    describe_features,
    make_classifier,
)


@dataclass(frozen=True)
class ShufflePlan:
    """One shuffle block, every number decided.

    `separable` blocks filter three times (Xception), the others once.
    """

    out_channels: int
    middle_channels: int
    kernel_size: int
    stride: int
    separable: bool = False


class ShuffleNetwork(Network):
    """Stem, four stages of shuffle blocks, 1×1 convolution, pooling, classifier without bias.

    Source: Single Path One-Shot, section 4 and appendix, https://arxiv.org/abs/1904.00420;
    code megvii-model/SinglePathOneShot at 36eed6c, `src/Evaluation/template/network.py`.
    `stem`, `stages.S.B.{main,shortcut}.K`, `final`, `classifier` are checkpoint keys.

    Args:
        stages: The blocks of each stage; the first of a stage widens, and may halve the size.
        final_channels: Width of the 1×1 convolution before pooling.

    Shapes:
        images: (batch, in_chans, height, width), any size from 32
        returns: (batch, num_classes)
    """

    def __init__(
        self,
        stages: Sequence[Sequence[ShufflePlan]],
        *,
        stem_channels: int,
        stem_stride: int,
        final_channels: int,
        num_classes: int,
        in_chans: int,
        dropout: float,
        norm: BatchNormSettings,
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.stem = ConvNormAct(
            in_chans, stem_channels, 3, norm=norm, stride=stem_stride, activation="relu"
        )
        channels, reduction = stem_channels, stem_stride
        shapes: list[tuple[int, int]] = []
        self.stages = nn.ModuleList()
        for blocks in stages:
            stage = nn.Sequential()
            for block in blocks:
                stage.append(ShuffleBlock(channels, block, norm=norm))
                channels, reduction = block.out_channels, reduction * block.stride
            self.stages.append(stage)
            shapes.append((channels, reduction))
        self.feature_info = describe_features(shapes, (stem_channels, stem_stride))
        self.final = ConvNormAct(channels, final_channels, 1, norm=norm, activation="relu")
        self.hidden = nn.Identity()
        self.num_features = self.head_hidden_size = final_channels
        self.classifier = _without_bias(make_classifier(final_channels, num_classes))

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        _without_bias(self.classifier)


class ShuffleBlock(nn.Module):
    """Shuffle block that keeps its width, or widens and may halve the size.

    One that keeps its width passes every second channel on and works on the others,
    which is ShuffleNetV2's split and shuffle in one; one that widens works on the
    whole input twice, in `main` and in `shortcut`. Both are checkpoint keys.

    Shapes:
        images: (batch, in_channels, height, width), in_channels even where it keeps its width
        returns: (batch, out_channels, ceil(height / stride), ceil(width / stride))
    """

    def __init__(self, in_channels: int, plan: ShufflePlan, *, norm: BatchNormSettings) -> None:
        super().__init__()
        widens = plan.out_channels > in_channels
        worked = in_channels if widens else in_channels // 2
        kept = in_channels if widens else in_channels - worked
        make_branch = _separable_branch if plan.separable else _plain_branch
        self.main = make_branch(worked, plan, plan.out_channels - kept, norm)
        self.shortcut: nn.Module | None = None
        if widens:
            self.shortcut = nn.Sequential(
                _depthwise(in_channels, plan.kernel_size, norm, stride=plan.stride),
                _pointwise(in_channels, in_channels, norm),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut is not None:
            return torch.cat((self.shortcut(x), self.main(x)), 1)
        return torch.cat((x[:, 0::2], self.main(x[:, 1::2])), 1)


def _plain_branch(
    in_channels: int, plan: ShufflePlan, out_channels: int, norm: BatchNormSettings
) -> nn.Sequential:
    middle = plan.middle_channels
    return nn.Sequential(
        _pointwise(in_channels, middle, norm),
        _depthwise(middle, plan.kernel_size, norm, stride=plan.stride),
        _pointwise(middle, out_channels, norm),
    )


def _separable_branch(
    in_channels: int, plan: ShufflePlan, out_channels: int, norm: BatchNormSettings
) -> nn.Sequential:
    middle = plan.middle_channels
    return nn.Sequential(
        _depthwise(in_channels, plan.kernel_size, norm, stride=plan.stride),
        _pointwise(in_channels, middle, norm),
        _depthwise(middle, plan.kernel_size, norm),
        _pointwise(middle, middle, norm),
        _depthwise(middle, plan.kernel_size, norm),
        _pointwise(middle, out_channels, norm),
    )


def _pointwise(in_channels: int, out_channels: int, norm: BatchNormSettings) -> ConvNormAct:
    return ConvNormAct(in_channels, out_channels, 1, norm=norm, activation="relu")


def _depthwise(
    channels: int, kernel_size: int, norm: BatchNormSettings, stride: int = 1
) -> ConvNormAct:
    return ConvNormAct(channels, channels, kernel_size, norm=norm, stride=stride, groups=channels)


def _without_bias(classifier: nn.Module) -> nn.Module:
    if isinstance(classifier, nn.Linear):
        classifier.register_parameter("bias", None)
    return classifier
