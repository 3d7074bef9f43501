"""Cells with two inputs, and what every network of stacked cells has in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.errors import InvalidArgument
from zoo.layers.cell_modules import FactorizedReduce, OperatorStyle, ReluConvNorm
from zoo.layers.cell_ops import make_operator
from zoo.layers.empty import make_or_copy
from zoo.layers.inverted_residual import make_drop_path
from zoo.networks.network import FeatureBackbone, Network, in_fast_layout, make_classifier

# Outputs of the last two cells, the older one first: what every cell takes and returns.
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Edge:
    """An operator, and the state it reads: 0 the older input, 1 the newer, 2 … the nodes."""

    operator: str
    source: int


@dataclass(frozen=True)
class CellPlan:
    """A cell: two edges for each node, in order, and the states whose concatenation it returns."""

    edges: tuple[Edge, ...]
    concat: tuple[int, ...]


@dataclass(frozen=True)
class CellPlace:
    """What a place in the network asks of its cell; a stride of 2 asks for the reducing one.

    Args:
        raw_older: The older input enters the edges without a projection.
        keep_older: The next cell's older input is this cell's older input, not its newer one.
        drop_path: Probability of leaving an edge out of a training sample.
    """

    width: int
    stride: int = 1
    raw_older: bool = False
    keep_older: bool = False
    drop_path: float = 0.0


class Cell(nn.Module):
    """Two inputs, nodes that add up two edges each, a concatenation.

    `preprocess0`, `preprocess1`, `ops.K` (two for each node) and `merge.I` (an
    input that the concatenation takes at half its size) are checkpoint keys.

    Args:
        channels: Of the older and of the newer input.
        halve_older: The older input is twice as large as the newer one.
    """

    def __init__(
        self,
        plan: CellPlan,
        place: CellPlace,
        style: OperatorStyle,
        channels: tuple[int, int],
        halve_older: bool,
    ) -> None:
        super().__init__()
        older, newer = channels
        width = place.width
        self.preprocess0 = _make_preprocess0(place, style, older, halve_older)
        self.preprocess1 = make_or_copy(ReluConvNorm, newer, width, 1, style=style)
        state_widths = {0: older if place.raw_older else width}
        self.sources = tuple(edge.source for edge in plan.edges)
        self.ops = nn.ModuleList(
            make_or_copy(
                make_operator,
                edge.operator,
                state_widths.get(edge.source, width),
                width,
                place.stride if edge.source < 2 else 1,
                style,
            )
            for edge in plan.edges
        )
        self.concat = plan.concat
        self.merge = nn.ModuleDict()
        for source in plan.concat:
            if source < 2 and place.stride > 1:
                self.merge[str(source)] = FactorizedReduce(
                    state_widths.get(source, width), width, style=style, relu=False
                )
        self.drop_path = make_drop_path(place.drop_path)
        self.keep_older = place.keep_older
        self.out_channels = width * len(plan.concat)

    def forward(self, pair: Pair) -> Pair:
        states = [self.preprocess0(pair[0]), self.preprocess1(pair[1])]
        for first in range(0, len(self.ops), 2):
            left, right = (self._edge(index, states) for index in (first, first + 1))
            states.append(left + right)
        out = torch.cat([self._merged(source, states) for source in self.concat], 1)
        return (pair[0] if self.keep_older else pair[1]), out

    def _edge(self, index: int, states: Sequence[Tensor]) -> Tensor:
        operator, state = self.ops[index], states[self.sources[index]]
        # As in every paper of the family, an identity is never dropped.
        return state if isinstance(operator, nn.Identity) else self.drop_path(operator(state))

    def _merged(self, source: int, states: Sequence[Tensor]) -> Tensor:
        key = str(source)
        return self.merge[key](states[source]) if key in self.merge else states[source]


def _make_preprocess0(
    place: CellPlace, style: OperatorStyle, older: int, halve_older: bool
) -> nn.Module:
    if place.raw_older:
        return nn.Identity()
    if halve_older:
        return make_or_copy(FactorizedReduce, older, place.width, style=style)
    if style.tensorflow and older == place.width:
        return nn.Identity()
    return make_or_copy(ReluConvNorm, older, place.width, 1, style=style)


def stack_cells(
    stages: Iterable[Iterable[CellPlace]],
    plans: tuple[CellPlan, CellPlan],
    style: OperatorStyle,
    stem_channels: int,
    *,
    halve_older: bool = False,
) -> Iterator[list[Cell]]:
    """Yield the cells of each stage, each cell fitted to the outputs of the two before it.

    Args:
        plans: Of the normal and of the reducing cell.
        stem_channels: Of both inputs of the first cell.
        halve_older: The older input of the first cell is twice as large as the newer one.
    """
    channels = (stem_channels, stem_channels)
    for places in stages:
        cells = []
        for place in places:
            cell = Cell(plans[place.stride > 1], place, style, channels, halve_older)
            cells.append(cell)
            channels = (channels[0] if place.keep_older else channels[1], cell.out_channels)
            halve_older = place.stride > 1
        yield cells


class Newest(nn.Module):
    """The newer of a pair."""

    def forward(self, pair: Pair) -> Tensor:
        return pair[1]


class PairBackbone(FeatureBackbone):
    """A `FeatureBackbone` of stages that hand on pairs; it returns the newer ones."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [pair[1] for pair in super().forward(images)]


class AuxiliaryHead(nn.Module):
    """A second classifier on inner features, for training alone.

    Source: DARTS, https://arxiv.org/abs/1806.09055, appendix; code quark0/darts at f276dd3,
    with P-DARTS' BatchNorm behind the second convolution. `features.K` and `classifier`
    are checkpoint keys. The mean over what the convolutions leave admits any image size.

    Shapes:
        features: (batch, in_channels, height, width), at least 5 + stride pixels a side
        returns: (batch, num_classes)
    """

    def __init__(self, in_channels: int, num_classes: int, stride: int, style: OperatorStyle):
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride, count_include_pad=False),
            nn.Conv2d(in_channels, 128, 1, bias=False),
            style.norm.make(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            style.norm.make(768),
            nn.ReLU(inplace=True),
        )
        self.classifier = make_classifier(768, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.features(features).mean((2, 3)))


class CellNetwork(Network):
    """Base of networks of stacked cells: `stem` gives a pair, stages take and return pairs.

    `auxiliary` is a checkpoint key, present after `attach_auxiliary_head`.
    """

    auxiliary: nn.Module | None
    style: OperatorStyle
    # (stage, cell, channels, pooling stride): where an auxiliary head reads.
    auxiliary_place: tuple[int, int, int, int]

    def __init__(self, *, num_classes: int, in_chans: int, dropout: float) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.auxiliary = None

    def features_only(self, out_indices: Sequence[int] | None = None) -> FeatureBackbone:
        return PairBackbone(self, out_indices)

    def attach_auxiliary_head(self) -> None:
        """Add a second classifier at two thirds of the depth, for training.

        `forward` returns the same as before, in training and in evaluation;
        `forward_with_auxiliary` returns both classifiers' logits.

        Raises:
            InvalidArgument: the network has no classes.
        """
        if self.num_classes == 0:
            raise InvalidArgument("an auxiliary head needs num_classes, which is 0 here")
        like = next(self.parameters())
        _, _, channels, stride = self.auxiliary_place
        head = AuxiliaryHead(channels, self.num_classes, stride, self.style)
        self.auxiliary = head.to(like.device, like.dtype)

    def detach_auxiliary_head(self) -> None:
        """Remove the auxiliary head, if there is one."""
        self.auxiliary = None

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits, logits of the auxiliary head), each (batch, num_classes).

        Raises:
            InvalidArgument: no auxiliary head is attached.
        """
        if self.auxiliary is None:
            raise InvalidArgument("no auxiliary head; call attach_auxiliary_head() first")
        pair = self.stem(in_fast_layout(images))
        inner = pair[1]
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, nn.Sequential)
            for index, cell in enumerate(stage):
                if self.gradient_checkpointing and self.training:
                    pair = checkpoint(cell, pair, use_reentrant=False)
                else:
                    pair = cell(pair)
                if (number, index) == self.auxiliary_place[:2]:
                    inner = pair[1]
        return self.forward_head(self.final(pair)), self.auxiliary(inner)

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        if self.auxiliary is not None:
            self.detach_auxiliary_head()
            if num_classes:
                self.attach_auxiliary_head()
