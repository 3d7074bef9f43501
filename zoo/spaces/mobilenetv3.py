"""MobileNetV3Space: TuNAS' largest space of MobileNetV3-like chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from zoo.errors import InvalidArgument
from zoo.layers.conv import BatchNormSettings
from zoo.layers.inverted_residual import BlockPlan
from zoo.networks.mobile import ConvPlan, MobileNetwork, MobilePlan
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf, Stage
from zoo.spaces.mbconv import (
    block_options,
    check_nothing_left,
    read_label,
    round_channels,
    take_label,
    write_label,
)

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Gate = Literal["force", "optional", "none"]
Activation = Literal["relu", "hswish", "swish"]

_GATES: dict[str, tuple[bool, ...]] = {
    "force": (True,),
    "optional": (False, True),
    "none": (False,),
}


class MobileNetV3Space(SearchSpace, frozen=True, kw_only=True):
    """Kernel, expand ratio, gate of every block, depth and width of every stage.

    Source: TuNAS, section 5 and appendix, https://arxiv.org/abs/2008.06120; code
    google-research/tunas `mobile_search_space_v3.py` at 2073634. Stage `s0` is one
    depthwise separable block, `s1` … are lists of inverted residuals such as
    `["k5e6_se", "k3e2.5"]`; `sN_width` multiplies the base width (stem and `s0` share one).

    Args:
        base_widths: Channels of stem, `s0`, the searched stages, last convolution, hidden layer.
        width_multipliers: What `sN_width` may choose; widths are rounded to multiples of 8.
        squeeze_excite: For `s0` and each searched stage: always, chosen per block, or never.
        depths: Least and most blocks of each searched stage.
        strides, activations: One for each entry of `base_widths`.
        dropout: Probability before the classifier.
        drop_path: Stochastic depth of the last block; earlier blocks have less.
    """

    base_widths: tuple[PositiveInt, ...] = (16, 16, 16, 32, 64, 128, 256, 512, 1024)
    width_multipliers: tuple[PositiveFloat, ...] = (0.5, 0.625, 0.75, 1.0, 1.25, 1.5, 2.0)
    stem_kernel_sizes: tuple[PositiveInt, ...] = (3, 5)
    kernel_sizes: tuple[PositiveInt, ...] = (3, 5, 7)
    expand_ratios: tuple[PositiveFloat, ...] = (1, 2, 3, 4, 5, 6)
    squeeze_excite: tuple[Gate, ...] = ("none", "none", "optional", "none", "optional", "optional")
    depths: tuple[tuple[PositiveInt, PositiveInt], ...] = ((1, 4),) * 5
    strides: tuple[Literal[1, 2], ...] = (2, 1, 2, 2, 2, 1, 2, 1, 1)
    activations: tuple[Activation, ...] = ("hswish", *("relu",) * 3, *("hswish",) * 5)
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    drop_path: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    bn_eps: PositiveFloat = 1e-3
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = len(self.base_widths)
        expected = {
            "strides": widths,
            "activations": widths,
            "squeeze_excite": widths - 3,
            "depths": widths - 4,
        }
        for name, length in expected.items():
            got = len(getattr(self, name))
            if widths < 5 or got != length:
                raise InvalidArgument(
                    f"MobileNetV3Space: {widths} base_widths (at least 5) need {length} {name}, "
                    f"got {got}"
                )

    def choices(self) -> dict[str, Choice]:
        choices: dict[str, Choice] = {
            "stem_kernel": OneOf(self.stem_kernel_sizes),
            "s0": Stage(
                block_options(self.kernel_sizes, [None], _GATES[self.squeeze_excite[0]]), (1,)
            ),
        }
        for stage, (least, most) in enumerate(self.depths, start=1):
            gates = _GATES[self.squeeze_excite[stage]]
            options = block_options(self.kernel_sizes, self.expand_ratios, gates)
            choices[f"s{stage}"] = Stage(options, tuple(range(least, most + 1)))
        if len(self.width_multipliers) > 1:
            for stage in range(len(self.base_widths) - 1):
                choices[f"s{stage}_width"] = OneOf(self.width_multipliers)
        return choices

    def build_network(self, architecture: Architecture) -> MobileNetwork:
        widths = self._widths(architecture)
        stages: list[tuple[BlockPlan | ConvPlan, ...]] = []
        width = widths[0]
        for stage in range(len(self.squeeze_excite)):
            blocks = []
            for position, label in enumerate(architecture[f"s{stage}"]):
                stride = self.strides[stage + 1] if position == 0 else 1
                activation = self.activations[stage + 1]
                blocks.append(_plan_block(label, width, widths[stage + 1], stride, activation))
                width = widths[stage + 1]
            stages.append(tuple(blocks))
        stages.append((ConvPlan(widths[-2], 1, self.strides[-2], self.activations[-2]),))
        plan = MobilePlan(
            stem=ConvPlan(
                widths[0], architecture["stem_kernel"], self.strides[0], self.activations[0]
            ),
            stages=tuple(stages),
            hidden=(widths[-1], self.activations[-1]),
            norm=BatchNormSettings(self.bn_eps, self.bn_momentum),
            drop_path=self.drop_path,
        )
        return MobileNetwork(
            plan, num_classes=self.num_classes, in_chans=self.in_chans, dropout=self.dropout
        )

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `stem_ks`, `s0_i0_ks`, `s1_i0_exp` …."""
        space = "MobileNetV3Space"
        labels = dict(architecture)
        # NNI's Cream dictionaries carry a depth for s0 that its own space does not declare.
        labels.pop("s0_depth", None)
        converted: Architecture = {"stem_kernel": take_label(labels, "stem_ks", space)}
        for stage, gate in enumerate(self.squeeze_excite):
            depth = 1 if stage == 0 else take_label(labels, f"s{stage}_depth", space)
            blocks = []
            for index in range(depth):
                prefix = f"s{stage}_i{index}"
                kernel = take_label(labels, f"{prefix}_ks", space)
                ratio = None if stage == 0 else take_label(labels, f"{prefix}_exp", space)
                gated = gate == "force" or (
                    gate == "optional" and take_label(labels, f"{prefix}_se", space) == "se"
                )
                blocks.append(write_label(kernel, ratio, gated))
            converted[f"s{stage}"] = blocks
        if len(self.width_multipliers) > 1:
            for stage in range(len(self.base_widths) - 1):
                converted[f"s{stage}_width"] = take_label(labels, f"s{stage}_width_mult", space)
        check_nothing_left(labels, space)
        self.check(converted)
        return converted

    def _widths(self, architecture: Architecture) -> list[int]:
        return [
            # TuNAS: the stem shares the multiplier of the first stage.
            round_channels(
                base * architecture.get(f"s{max(index - 1, 0)}_width", self.width_multipliers[0])
            )
            for index, base in enumerate(self.base_widths)
        ]


def _plan_block(
    label: str, in_channels: int, out_channels: int, stride: int, activation: str
) -> BlockPlan:
    kernel_size, ratio, gated = read_label(label)
    hidden = None if ratio is None else round_channels(in_channels * ratio)
    return BlockPlan(
        out_channels,
        kernel_size,
        stride,
        activation,
        hidden,
        round_channels((hidden or in_channels) / 4) if gated else 0,
    )
