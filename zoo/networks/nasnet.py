"""The ImageNet skeleton of NASNet, PNASNet and AmoebaNet, in which their weights live."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from torch import Tensor, nn

from zoo.layers.cell_modules import OperatorStyle
from zoo.layers.conv import Conv2d
from zoo.networks.cells import CellNetwork, CellPlace, CellPlan, Newest, Pair, stack_cells
from zoo.networks.network import describe_features, make_classifier


class NASNetNetwork(CellNetwork):
    """Convolution, two reducing stem cells, three stages of cells, ReLU, pooling, classifier.

    Source: NASNet, figure 2, https://arxiv.org/abs/1707.07012; PNAS, section 3,
    https://arxiv.org/abs/1712.00559; code tensorflow/models
    `research/slim/nets/nasnet`. `stem` and `stages.S.I` are checkpoint keys: stage 0 is
    the first stem cell, stage 1 starts with the second, stages 2 and 3 with a reducing cell.

    Args:
        width: Filters of a node in the first stage; the stem cells have a quarter and a half.
        num_cells: Cells of the three stages; see `extra_reductions`.
        stem_channels: Filters of the first convolution.
        extra_reductions: Reducing cells come in addition to `num_cells` (NASNet); otherwise
            they are the first of their stage (PNASNet).
        skip_reduction_input: The cell behind a reducing cell reads, as its older input, what
            the reducing cell read as its own (the large NASNet).
        drop_path: Probability of leaving an edge out in the last cell; earlier cells have less.
    """

    def __init__(
        self,
        normal: CellPlan,
        reduce: CellPlan,
        *,
        width: int,
        num_cells: int,
        stem_channels: int,
        extra_reductions: bool,
        skip_reduction_input: bool,
        style: OperatorStyle,
        drop_path: float,
        num_classes: int,
        in_chans: int,
        dropout: float,
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.style = style
        self.stem = ValidStem(in_chans, stem_channels, style)
        places = _place_cells(width, num_cells, extra_reductions, skip_reduction_input, drop_path)
        self.stages = nn.ModuleList()
        shapes: list[tuple[int, int]] = []
        for number, cells in enumerate(stack_cells(places, (normal, reduce), style, stem_channels)):
            self.stages.append(nn.Sequential(*cells))
            shapes.append((cells[-1].out_channels, 4 * 2**number))
        self.auxiliary_place = (2, len(places[2]) - 1, shapes[2][0], 3)
        self.feature_info = describe_features(shapes, (stem_channels, 2))
        self.final = nn.Sequential(Newest(), nn.ReLU())
        self.hidden = nn.Identity()
        self.num_features = self.head_hidden_size = shapes[-1][0]
        self.classifier = make_classifier(self.num_features, num_classes)


def _place_cells(
    width: int, num_cells: int, extra_reductions: bool, skip_reduction_input: bool, drop_path: float
) -> list[list[CellPlace]]:
    """Return the places of the four stages."""
    stages = [
        [CellPlace(max(2, width // 4), 2, raw_older=True)],
        [CellPlace(max(2, width // 2), 2)],
        [],
        [],
    ]
    for stage in range(3):
        normal = CellPlace(width * 2**stage)
        cells = [normal] * ((stage + 1) * num_cells // 3 - stage * num_cells // 3)
        if stage > 0:
            first = replace(normal, stride=2, keep_older=skip_reduction_input)
            cells = [first, *cells] if extra_reductions else [first, *cells[1:]]
        stages[stage + 1] += cells
    steps, total = count(1), sum(map(len, stages))
    return [
        [replace(place, drop_path=drop_path * next(steps) / total) for place in places]
        for places in stages
    ]


class ValidStem(nn.Module):
    """Convolution of stride 2 without padding, BatchNorm; `conv`, `bn` are checkpoint keys."""

    folds = (("conv", "bn"),)  # see `zoo.optimizing.folding`

    def __init__(self, in_channels: int, out_channels: int, style: OperatorStyle) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 3, 2, bias=False)
        self.bn = style.norm.make(out_channels)

    def forward(self, images: Tensor) -> Pair:
        out = self.bn(self.conv(images))
        return out, out
