"""ProxylessNAS: a MobileNetV2-like chain; every block chooses kernel and expand ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from zoo.diagram import Diagram
from zoo.errors import InvalidArgument
from zoo.layers.conv import BatchNormSettings
from zoo.layers.empty import EmptyParameters
from zoo.layers.inverted_residual import BlockPlan
from zoo.networks.mobile import ConvPlan, MobileNetwork, MobilePlan
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, Stage
from zoo.spaces.mbconv import (
    block_options,
    check_nothing_left,
    read_label,
    stage_table,
    take_label,
)
from zoo.supernet import Supernet, load_once_for_all

MAX_DEPTHS = (4, 4, 4, 4, 4, 1)


PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]


class ProxylessNAS(SearchSpace, frozen=True, kw_only=True):
    """Six stages of one to four inverted residuals (the last has one), ReLU6.

    Source: ProxylessNAS, section 4.1 and appendix, https://arxiv.org/abs/1812.00332;
    code mit-han-lab/proxylessnas at bf58b5c. A stage `s2` … `s7` is the list of
    its blocks, `["k5e3", "k3e3"]`; the first block of the body is fixed.

    Args:
        widths: Output channels of stem, fixed first block, and the six stages.
        strides: Of stem, fixed first block, and the six stages.
        feature_mix: Channels of the 1×1 convolution before pooling; None leaves it out.
        kernel_sizes, expand_ratios: What a block may choose.
        min_depths, max_depths: Least and most blocks of each stage.
        dropout: Probability before the classifier.
        drop_path: Stochastic depth of the last block; earlier blocks have less.
        folded_batch_norm: BatchNorm is already part of the convolutions' weights and biases.
    """

    widths: tuple[PositiveInt, ...] = (32, 16, 32, 40, 80, 96, 192, 320)
    strides: tuple[Literal[1, 2], ...] = (2, 1, 2, 2, 2, 1, 2, 1)
    feature_mix: PositiveInt | None = 1280
    kernel_sizes: Annotated[tuple[PositiveInt, ...], Meta(min_length=1)] = (3, 5, 7)
    expand_ratios: Annotated[tuple[PositiveFloat, ...], Meta(min_length=1)] = (3, 6)
    min_depths: tuple[PositiveInt, ...] = (1, 1, 1, 1, 1, 1)
    max_depths: tuple[PositiveInt, ...] = MAX_DEPTHS
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    bn_eps: Annotated[float, Meta(gt=0)] = 1e-3
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.1
    folded_batch_norm: bool = False

    adaptable: ClassVar[frozenset[str]] = SearchSpace.adaptable | {
        "kernel_sizes",
        "expand_ratios",
        "min_depths",
        "max_depths",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        depths = (len(self.min_depths), len(self.max_depths))
        if len(self.widths) != 8 or len(self.strides) != 8 or depths != (6, 6):
            raise InvalidArgument(
                f"ProxylessNAS: expected 8 widths, 8 strides, 6 min_depths and 6 max_depths, got "
                f"{len(self.widths)}, {len(self.strides)}, {depths[0]} and {depths[1]}"
            )
        for least, most in zip(self.min_depths, self.max_depths, strict=True):
            if least > most:
                raise InvalidArgument(
                    f"ProxylessNAS: depths {least} to {most}: expected the least first"
                )

    @classmethod
    def load_supernet(cls, name: str, **options: Any) -> Supernet:
        """Return a Once-for-All supernet; see `zoo.supernet.load_once_for_all`."""
        return load_once_for_all(name, cls, **options)

    def choices(self) -> dict[str, Choice]:
        options = block_options(self.kernel_sizes, self.expand_ratios)
        return {
            f"s{stage}": Stage(options, tuple(range(least, most + 1)))
            for stage, (least, most) in enumerate(
                zip(self.min_depths, self.max_depths, strict=True), start=2
            )
        }

    def build_network(self, architecture: Architecture) -> MobileNetwork:
        stem_width, width = self.widths[:2]
        stages = [(BlockPlan(width, 3, self.strides[1], "relu6"),)]
        for index, stride in enumerate(self.strides[2:]):
            blocks = []
            for position, label in enumerate(architecture[f"s{index + 2}"]):
                kernel_size, ratio = read_label(label)[:2]
                assert ratio is not None
                hidden = round(width * ratio)
                width = self.widths[index + 2]
                block_stride = stride if position == 0 else 1
                blocks.append(BlockPlan(width, kernel_size, block_stride, "relu6", hidden))
            stages.append(tuple(blocks))
        plan = MobilePlan(
            stem=ConvPlan(stem_width, 3, self.strides[0], "relu6"),
            stages=tuple(stages),
            final=ConvPlan(self.feature_mix, 1, 1, "relu6") if self.feature_mix else None,
            norm=BatchNormSettings(self.bn_eps, self.bn_momentum, not self.folded_batch_norm),
            drop_path=self.drop_path,
        )
        return MobileNetwork(
            plan, num_classes=self.num_classes, in_chans=self.in_chans, dropout=self.dropout
        )

    def diagram(self, architecture: Architecture) -> Diagram:
        """Return the stages as a table; the fixed first block is `s1`."""
        self.check(architecture)
        with EmptyParameters():
            network = self.build_network(architecture)
        stages = [(f"s{n}", architecture[f"s{n}"]) for n in range(2, 8)]
        return [stage_table(network, [("s1", ["k3"]), *stages])]

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `s2_depth`, `s2_i0` … `s7_i0`."""
        labels = dict(architecture)
        converted: Architecture = {}
        for name, most in zip(self.choices(), self.max_depths, strict=True):
            if most == 1:
                labels.setdefault(f"{name}_depth", 1)  # NNI leaves out what is no choice
            depth = take_label(labels, f"{name}_depth", "ProxylessNAS", int)
            converted[name] = [
                take_label(labels, f"{name}_i{index}", "ProxylessNAS") for index in range(depth)
            ]
        check_nothing_left(labels, "ProxylessNAS")
        self.check(converted)
        return converted
