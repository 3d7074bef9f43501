"""The skeleton of DARTS and of NDS: stem, three stages of cells, pooling, classifier."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.layers.cell_modules import OperatorStyle
from zoo.layers.conv import Conv2d
from zoo.networks.cells import CellNetwork, CellPlace, CellPlan, Newest, Pair, stack_cells
from zoo.networks.network import describe_features, make_classifier


class NDSNetwork(CellNetwork):
    """Cells in three stages; the first cell of the last two halves the size and doubles the width.

    Source: DARTS, https://arxiv.org/abs/1806.09055, code quark0/darts at f276dd3,
    `cnn/model.py`; NDS, https://arxiv.org/abs/1905.13214. `stem`, `stages.S.I` are
    checkpoint keys; for ImageNet stage 0 is the third convolution of the stem.

    Args:
        width: C of the papers: channels of a node in the first stage.
        num_cells: N of the papers, all three stages together.
        imagenet: The stem halves the size three times; otherwise it keeps it.
        drop_path: Probability of leaving an edge out of a training sample, the same everywhere.
    """

    def __init__(
        self,
        normal: CellPlan,
        reduce: CellPlan,
        *,
        width: int,
        num_cells: int,
        imagenet: bool,
        style: OperatorStyle,
        drop_path: float,
        num_classes: int,
        in_chans: int,
        dropout: float,
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.style = style
        self.stages = nn.ModuleList()
        if imagenet:
            self.stem = ImageNetStem(in_chans, width, style)
            self.stages.append(nn.Sequential(ImageNetStemTail(width, style)))
            shapes = [(width, 4), (width, 8)]
        else:
            self.stem = CifarStem(in_chans, 3 * width, style)
            shapes = [(3 * width, 1)]
        channels, reduction = shapes[-1]
        places = _place_cells(width, num_cells, drop_path)
        for number, cells in enumerate(
            stack_cells(places, (normal, reduce), style, channels, halve_older=imagenet)
        ):
            if number == 2:  # at 7 pixels for ImageNet, at 8 for CIFAR
                pooling_stride = 2 if imagenet else 3
                self.auxiliary_place = (len(self.stages), 0, cells[0].out_channels, pooling_stride)
            self.stages.append(nn.Sequential(*cells))
            shapes.append((cells[-1].out_channels, reduction * 2**number))
        self.feature_info = describe_features(shapes[1:], shapes[0])
        self.final = Newest()
        self.hidden = nn.Identity()
        self.num_features = self.head_hidden_size = shapes[-1][0]
        self.classifier = make_classifier(self.num_features, num_classes)


def _place_cells(width: int, num_cells: int, drop_path: float) -> list[list[CellPlace]]:
    """Return the places of the three stages; the later two start with a reducing cell."""
    return [
        [
            CellPlace(width * 2**stage, 2 if stage and not index else 1, drop_path=drop_path)
            for index in range((stage + 1) * num_cells // 3 - stage * num_cells // 3)
        ]
        for stage in range(3)
    ]


class CifarStem(nn.Module):
    """Convolution and BatchNorm, twice the same output; `conv` and `bn` are checkpoint keys."""

    folds = (("conv", "bn"),)  # see `zoo.optimizing.folding`

    def __init__(self, in_channels: int, out_channels: int, style: OperatorStyle) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = style.norm.make(out_channels)

    def forward(self, images: Tensor) -> Pair:
        out = self.bn(self.conv(images))
        return out, out


class ImageNetStem(nn.Module):
    """Two convolutions of stride 2; `conv_1`, `bn_1`, `conv_2`, `bn_2` are checkpoint keys."""

    folds = (("conv_1", "bn_1"), ("conv_2", "bn_2"))

    def __init__(self, in_channels: int, out_channels: int, style: OperatorStyle) -> None:
        super().__init__()
        half = max(1, out_channels // 2)
        self.conv_1 = Conv2d(in_channels, half, 3, 2, padding=1, bias=False)
        self.bn_1 = style.norm.make(half)
        self.conv_2 = Conv2d(half, out_channels, 3, 2, padding=1, bias=False)
        self.bn_2 = style.norm.make(out_channels)

    def forward(self, images: Tensor) -> Pair:
        out = self.bn_2(self.conv_2(self.bn_1(self.conv_1(images)).relu()))
        return out, out


class ImageNetStemTail(nn.Module):
    """The third convolution of stride 2: the newer input of the first cell.

    `conv` and `bn` are checkpoint keys.
    """

    folds = (("conv", "bn"),)

    def __init__(self, channels: int, style: OperatorStyle) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, 2, padding=1, bias=False)
        self.bn = style.norm.make(channels)

    def forward(self, pair: Pair) -> Pair:
        return pair[1], self.bn(self.conv(pair[1].relu()))
