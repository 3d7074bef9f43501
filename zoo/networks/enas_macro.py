"""The chain of ENAS' macro space: layers that also read earlier layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.layers.cell_modules import (
    FactorizedReduce,
    OperatorStyle,
    Pooling,
    ReluConvNorm,
    SeparableConvNorm,
)
from zoo.layers.conv import Conv2d
from zoo.networks.network import (
    FeatureBackbone,
    Network,
    describe_features,
    make_classifier,
)

# Outputs of the stem and of all layers so far; None where no later layer reads one.
States = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class LayerPlan:
    """An operator, and which earlier outputs join its own: 0 the stem, k the layer k − 1."""

    operator: str
    skips: tuple[int, ...]


class ENASMacroNetwork(Network):
    """Stem, layers in three stages of one resolution, pooling, classifier.

    Source: ENAS, section 2.3, https://arxiv.org/abs/1802.03268; code melodyguan/enas,
    `src/cifar10/general_child.py`. Between stages every output that is still read is halved
    and its channels double. `stem`, `stages.S.{layers.L,reductions.I}` are checkpoint keys.
    """

    def __init__(
        self,
        layers: Sequence[LayerPlan],
        *,
        width: int,
        style: OperatorStyle,
        num_classes: int,
        in_chans: int,
        dropout: float,
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.stem = MacroStem(in_chans, width, style)
        distance = len(layers) // 3
        starts = (0, distance, 2 * distance, len(layers))
        self.stages = nn.ModuleList()
        for stage, (start, end) in enumerate(itertools.pairwise(starts)):
            # An output is needed if a layer reads it as its input or as a skip.
            read = {
                source
                for number in range(start, len(layers))
                for source in (number, *layers[number].skips)
            }
            self.stages.append(
                MacroStage(layers[start:end], start, read, width * 2**stage, stage > 0, style)
            )
        shapes = [(width * 2**stage, 2**stage) for stage in range(3)]
        self.feature_info = describe_features(shapes, (width, 1))
        self.final = NewestState()
        self.hidden = nn.Identity()
        self.num_features = self.head_hidden_size = shapes[-1][0]
        self.classifier = make_classifier(self.num_features, num_classes)

    def features_only(self, out_indices: Sequence[int] | None = None) -> FeatureBackbone:
        return StatesBackbone(self, out_indices)

    def group_matcher(self, coarse: bool = False) -> dict:
        matcher = super().group_matcher(coarse)
        if not coarse:
            matcher["blocks"][0] = (r"^stages\.(\d+)\.(?:layers|reductions)\.(\d+)", None)
        return matcher


class MacroStem(nn.Module):
    """Convolution and BatchNorm; `conv` and `bn` are checkpoint keys."""

    folds = (("conv", "bn"),)  # see `zoo.optimizing.folding`

    def __init__(self, in_channels: int, out_channels: int, style: OperatorStyle) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = style.norm.make(out_channels)

    def forward(self, images: Tensor) -> States:
        return (self.bn(self.conv(images)),)


class MacroStage(nn.Module):
    """Layers of one width; takes and returns the outputs of all layers so far.

    Args:
        start: Number of the first layer in the network.
        read: Outputs that these or later layers read.
        reduces: Halve what comes in; its channels double to `width`.
    """

    def __init__(
        self,
        layers: Sequence[LayerPlan],
        start: int,
        read: set[int],
        width: int,
        reduces: bool,
        style: OperatorStyle,
    ) -> None:
        super().__init__()
        self.start = start
        self.read = frozenset(read)
        self.reductions = nn.ModuleDict()
        if reduces:
            for source in sorted(source for source in read if source <= start):
                self.reductions[str(source)] = FactorizedReduce(
                    width // 2, width, style=style, relu=False
                )
        self.layers = nn.ModuleList(
            MacroLayer(plan, width, start + index, style) for index, plan in enumerate(layers)
        )

    def forward(self, states: States) -> States:
        outputs: list[Tensor | None] = [
            state if index in self.read else None for index, state in enumerate(states)
        ]
        for key, reduction in self.reductions.items():
            outputs[int(key)] = reduction(read_output(outputs, int(key)))
        for layer in self.layers:
            outputs.append(layer(outputs))
        return tuple(outputs)


class MacroLayer(nn.Module):
    """The operator on the newest output; with it join the skips, through a 1×1 convolution.

    `op` and `join` are checkpoint keys.
    """

    def __init__(self, plan: LayerPlan, width: int, number: int, style: OperatorStyle) -> None:
        super().__init__()
        self.op = make_layer_operator(plan.operator, width, style)
        self.skips = plan.skips
        self.join: nn.Module = nn.Identity()
        if number > 0:  # the first layer has nothing to join
            self.join = ReluConvNorm(width * (1 + len(plan.skips)), width, 1, style=style)

    def forward(self, outputs: Sequence[Tensor | None]) -> Tensor:
        inputs = [read_output(outputs, source) for source in self.skips]
        return self.join(torch.cat([*inputs, self.op(read_output(outputs, -1))], 1))


class NewestState(nn.Module):
    """The last of the outputs."""

    def forward(self, states: States) -> Tensor:
        return read_output(states, -1)


class StatesBackbone(FeatureBackbone):
    """A `FeatureBackbone` of stages that hand on all outputs; it returns the newest ones."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [states[-1] for states in super().forward(images)]


def read_output(outputs: Sequence[Tensor | None], index: int) -> Tensor:
    """Return an output; the network's plan kept it."""
    output = outputs[index]
    assert output is not None
    return output


def make_layer_operator(name: str, width: int, style: OperatorStyle) -> nn.Module:
    """Return 1×1 convolution, then the operator: (batch, width, h, w) to the same shape."""
    first = ReluConvNorm(width, width, 1, style=style)
    if name in ("avg_pool_3x3", "max_pool_3x3"):
        return nn.Sequential(first, Pooling(name[:3], 3, width, width, 1, style))
    kernel_size = int(name[-1])
    if name.startswith("sep_conv"):
        return nn.Sequential(first, SeparableConvNorm(width, width, kernel_size, style=style))
    return nn.Sequential(first, ReluConvNorm(width, width, kernel_size, style=style))
