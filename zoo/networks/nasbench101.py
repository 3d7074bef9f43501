"""The network of NAS-Bench-101: a stem and three stacks of one cell, which is any small graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.layers.conv import BatchNormSettings, ConvNormAct
from zoo.networks.network import (
    Network,
    describe_features,
    make_classifier,
)

Matrix = Sequence[Sequence[int]]


class NasBench101Network(Network):
    """Stem, stacks of cells with 2×2 max pooling and twice the width between stacks.

    Source: NAS-Bench-101, section 2.1, https://arxiv.org/abs/1902.09635; code
    google-research/nasbench at b942470, `nasbench/lib/model_builder.py`.
    `stem`, `stages.S.J.{operations,projections}.V`, `classifier` are checkpoint
    keys; V counts the vertices of the cell, 0 is its input.

    Args:
        matrix: Upper triangular adjacency matrix; every vertex lies on a path
            from the first (input) to the last (output).
        operations: Operation of every vertex; those of the first and last are not used.
        stacks, cells_per_stack: How often the cell is repeated.

    Shapes:
        images: (batch, in_chans, height, width), at least 2 ** (stacks − 1) pixels
        returns: (batch, num_classes)
    """

    def __init__(
        self,
        matrix: Matrix,
        operations: Sequence[str],
        *,
        channels: int,
        stacks: int,
        cells_per_stack: int,
        num_classes: int,
        in_chans: int,
        dropout: float,
        norm: BatchNormSettings,
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.stem = ConvNormAct(in_chans, channels, 3, norm=norm, activation="relu")
        self.stages = nn.ModuleList()
        shapes: list[tuple[int, int]] = []
        width = channels
        for index in range(stacks):
            stage = nn.Sequential()
            if index > 0:
                stage.append(nn.MaxPool2d(2))
            out_width = channels * 2**index
            for _ in range(cells_per_stack):
                stage.append(Cell(matrix, operations, width, out_width, norm=norm))
                width = out_width
            self.stages.append(stage)
            shapes.append((width, 2**index))
        self.feature_info = describe_features(shapes, (channels, 1))
        self.num_features = self.head_hidden_size = width
        self.final = nn.Identity()
        self.hidden = nn.Identity()
        self.classifier = make_classifier(width, num_classes)


class Cell(nn.Module):
    """A graph: a vertex adds what flows in and applies its operation; the output joins.

    What flows from the input is projected by a 1×1 convolution to the width it
    must have, other vertices lose their last channel where they have one too
    many. Into the output, interior vertices are concatenated; a projection of
    the input is added to that. `operations.V` and `projections.V` are
    checkpoint keys; max pooling owns none.

    Shapes:
        images: (batch, in_channels, height, width)
        returns: (batch, out_channels, height, width)
    """

    def __init__(
        self,
        matrix: Matrix,
        operations: Sequence[str],
        in_channels: int,
        out_channels: int,
        *,
        norm: BatchNormSettings,
    ) -> None:
        super().__init__()
        self.widths = vertex_channels(matrix, in_channels, out_channels)
        last = len(matrix) - 1
        self.last = last
        # Interior vertices that flow into each vertex, in order.
        self.sources = [[s for s in range(1, v) if matrix[s][v]] for v in range(last + 1)]
        self.operations = nn.ModuleDict(
            {str(v): make_operation(operations[v], self.widths[v], norm) for v in range(1, last)}
        )
        self.projections = nn.ModuleDict(
            {
                str(v): ConvNormAct(in_channels, self.widths[v], 1, norm=norm, activation="relu")
                for v in range(1, last + 1)
                if matrix[0][v]
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        values = {0: x}
        projected = {int(name): module(x) for name, module in self.projections.items()}
        for name, operation in self.operations.items():
            vertex = int(name)
            flows = [values[s][:, : self.widths[vertex]] for s in self.sources[vertex]]
            if vertex in projected:
                flows.append(projected[vertex])
            values[vertex] = operation(_sum(flows))
        joined = [values[s] for s in self.sources[self.last]]
        flows = [torch.cat(joined, 1)] if joined else []
        if self.last in projected:
            flows.append(projected[self.last])
        return _sum(flows)


def vertex_channels(matrix: Matrix, in_channels: int, out_channels: int) -> list[int]:
    """Return the width of every vertex.

    Source: NAS-Bench-101, section 2.1 and appendix S2, https://arxiv.org/abs/1902.09635.
    The output's width is divided among the interior vertices that flow into it,
    the remainder goes to the first of them, one channel each; any other vertex
    is as wide as the widest interior vertex it flows into.
    """
    last = len(matrix) - 1
    widths = [in_channels, *[0] * (last - 1), out_channels]
    direct = [v for v in range(1, last) if matrix[v][last]]
    for position, vertex in enumerate(direct):
        share, remainder = divmod(out_channels, len(direct))
        widths[vertex] = share + (position < remainder)
    for vertex in range(last - 1, 0, -1):
        if not matrix[vertex][last]:
            widths[vertex] = max(widths[t] for t in range(vertex + 1, last) if matrix[vertex][t])
    return widths


def make_operation(name: str, channels: int, norm: BatchNormSettings) -> nn.Module:
    """Return the module of one vertex: (batch, channels, h, w) to the same shape."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    kernel_size = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}[name]
    return ConvNormAct(channels, channels, kernel_size, norm=norm, activation="relu")


def _sum(flows: list[Tensor]) -> Tensor:
    total = flows[0]
    for flow in flows[1:]:
        total = total + flow
    return total
