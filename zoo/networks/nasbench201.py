"""The network of NAS-Bench-201: three stacks of one cell, residual blocks between them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.layers.cell_modules import OperatorStyle, ReluConvNorm
from zoo.layers.conv import Conv2d
from zoo.layers.empty import make_or_copy
from zoo.networks.network import (
    Network,
    describe_features,
    make_classifier,
)

Edges = Mapping[tuple[int, int], str]

STYLE = OperatorStyle()  # PyTorch's padding and norms


class NasBench201Network(Network):
    """Stem, three stacks of cells with a halving residual block before the last two.

    Source: NAS-Bench-201, section 2.1, https://arxiv.org/abs/2001.00326; code
    D-X-Y/AutoDL-Projects at f46486e, `xautodl/models/cell_infers/tiny_network.py`.
    `stem`, `stages.S.J.edges.K`, `stages.S.0.{conv_a,conv_b,shortcut}` are checkpoint keys.

    Args:
        edges: Operator of every edge (from node, to node) of the four-node cell.
        channels: Width of the first stack; it doubles twice.
        cells_per_stack: N of the paper.
    """

    def __init__(
        self,
        edges: Edges,
        *,
        channels: int,
        cells_per_stack: int,
        num_classes: int,
        in_chans: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.stem = nn.Sequential(
            Conv2d(in_chans, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.stages = nn.ModuleList()
        widths = (channels, 2 * channels, 4 * channels)
        for index, width in enumerate(widths):
            stage = nn.Sequential()
            if index > 0:
                stage.append(HalvingBlock(width // 2, width))
            stage.extend(Cell(edges, width) for _ in range(cells_per_stack))
            self.stages.append(stage)
        self.feature_info = describe_features(
            [(width, 2**index) for index, width in enumerate(widths)], (channels, 1)
        )
        self.num_features = self.head_hidden_size = widths[-1]
        self.final = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        self.hidden = nn.Identity()
        self.classifier = make_classifier(widths[-1], num_classes)


class Cell(nn.Module):
    """A graph of four nodes; a node is the sum of its edges, the last node is the output.

    `edges.K` counts the six edges in the order of the benchmark's notation;
    edges without parameters own no keys.
    """

    def __init__(self, edges: Edges, channels: int) -> None:
        super().__init__()
        self.routes = tuple(sorted(edges, key=lambda edge: (edge[1], edge[0])))
        self.edges = nn.ModuleList(
            make_or_copy(make_operator, edges[route], channels) for route in self.routes
        )

    def forward(self, x: Tensor) -> Tensor:
        nodes: dict[int, Tensor] = {0: x}
        for (source, target), operator in zip(self.routes, self.edges, strict=True):
            if isinstance(operator, Nothing):
                continue
            # A node that nothing reaches is zero, and a BatchNorm behind it still adds its bias.
            value = nodes.get(source)
            out = operator(torch.zeros_like(x) if value is None else value)
            nodes[target] = nodes[target] + out if target in nodes else out
        return nodes[3] if 3 in nodes else torch.zeros_like(x)


class Nothing(nn.Module):
    """The `none` operator; the cell passes it over."""


class HalvingBlock(nn.Module):
    """Residual block of stride 2; the shortcut is average pooling and a 1×1 convolution.

    Shapes:
        images: (batch, in_channels, height, width), height and width even
        returns: (batch, out_channels, height / 2, width / 2)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = ReluConvNorm(in_channels, out_channels, 3, stride=2, style=STYLE)
        self.conv_b = ReluConvNorm(out_channels, out_channels, 3, style=STYLE)
        self.pool = nn.AvgPool2d(2)
        self.shortcut = Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(self.pool(x)) + self.conv_b(self.conv_a(x))


def make_operator(name: str, channels: int) -> nn.Module:
    """Return the module of one edge: (batch, channels, h, w) to the same shape."""
    if name == "none":
        return Nothing()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    kernel_size = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name]
    return ReluConvNorm(channels, channels, kernel_size, style=STYLE)
