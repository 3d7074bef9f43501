"""MobileNetV3Space: TuNAS' largest space of MobileNetV3-like chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from zoo.diagram import Diagram
from zoo.errors import InvalidArgument
from zoo.layers.conv import BatchNormSettings
from zoo.layers.empty import EmptyParameters
from zoo.layers.inverted_residual import BlockPlan, GatePlan
from zoo.networks.mobile import ConvPlan, MobileNetwork, MobilePlan
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf, Stage
from zoo.spaces.mbconv import (
    block_options,
    check_nothing_left,
    read_label,
    round_channels,
    stage_table,
    take_label,
    write_label,
)
from zoo.supernet import Supernet, load_once_for_all

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Sizes = Annotated[tuple[PositiveInt, ...], Meta(min_length=1)]
KernelSizes = Annotated[tuple[PositiveInt | tuple[PositiveInt, ...], ...], Meta(min_length=1)]
Factors = Annotated[tuple[PositiveFloat, ...], Meta(min_length=1)]
GateUse = Literal["force", "optional", "none"]
Activation = Literal["relu", "relu6", "hswish", "swish"]

_GATES: dict[str, tuple[bool, ...]] = {
    "force": (True,),
    "optional": (False, True),
    "none": (False,),
}


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How squeeze-and-excite is made; the defaults are those of MobileNetV3.

    Args:
        reduced_from: Whether `ratio` is of the block's hidden or of its input channels.
        divisor: Widths are rounded to multiples of this, at least `round_limit` of the exact one.
        activation: Between the two convolutions; None for the block's own.
        before_activation: In blocks with a widening convolution the gate comes between the
            depthwise norm and its activation, not behind both.
    """

    reduced_from: Literal["hidden", "input"] = "hidden"
    ratio: PositiveFloat = 0.25
    divisor: PositiveInt = 8
    round_limit: PositiveFloat = 0.9
    activation: Activation | None = "relu"
    gate: Literal["hsigmoid", "sigmoid"] = "hsigmoid"
    before_activation: bool = False

    def plan(
        self, in_channels: int, hidden: int | None, activation: str, ratio: float | None = None
    ) -> GatePlan:
        """Return the numbers for one block.

        Args:
            hidden: None for a block without widening.
            ratio: Instead of the setting.
        """
        reduced_from = in_channels if self.reduced_from == "input" else hidden or in_channels
        exact = reduced_from * (ratio or self.ratio)
        channels = (
            round(exact) if self.divisor == 1
            else round_channels(exact, self.divisor, self.round_limit)
        )  # fmt: skip
        return GatePlan(
            channels,
            self.activation or activation,
            self.gate,
            self.before_activation and hidden is not None,
        )


class MobileNetV3Space(SearchSpace, frozen=True, kw_only=True):
    """Kernel, expand ratio, gate of every block, depth and width of every stage.

    Source: TuNAS, section 5 and appendix, https://arxiv.org/abs/2008.06120; code
    google-research/tunas `mobile_search_space_v3.py` at 2073634. Stage `s0` is one
    depthwise separable block, `s1` … are lists of inverted residuals such as
    `["k5e6_se", "k3e2.5"]`; `sN_width` multiplies the base width (stem and `s0` share one).
    Wider settings than the paper's express its relatives (MnasNet, FBNet, EfficientNet, OFA).

    Args:
        base_widths: Channels of stem, `s0`, the searched stages, then of the head: with
            `head` "hidden" the last convolution and the linear layer behind the pooling
            (MobileNetV3), with "mix" one convolution before the pooling (EfficientNet).
        width_multipliers: What `sN_width` may choose; other widths than the base ones are
            rounded to multiples of 8.
        kernel_sizes: What a block may choose; several in brackets are a mixed convolution.
        splits: Parts of the widening and of the narrowing convolution a block may choose.
        squeeze_excite: For `s0` and each searched stage: always, chosen per block, or never.
        gate_ratios: For `s0` and each searched stage, instead of the ratio of `gate`.
        depths: Least and most blocks of each searched stage.
        strides, activations: One for each entry of `base_widths`.
        first_kernel_sizes: Instead of `kernel_sizes` for `s0`.
        first_depths, first_expand_ratios, first_residual: The same for `s0`; ratio None is a
            depthwise separable block, `first_residual` False leaves its addition out.
        fused_stages: In so many stages, from `s0`, a block widens and filters in one convolution
            (MobileNet-EdgeTPU).
        hidden_bias: Whether the linear layer behind the pooling has a bias.
        same_padding: Convolutions pad as TensorFlow does: see `ConvNormAct`.
        dropout: Probability before the classifier.
        drop_path: Stochastic depth of the last block; earlier blocks have less.
    """

    base_widths: tuple[PositiveInt, ...] = (16, 16, 16, 32, 64, 128, 256, 512, 1024)
    width_multipliers: Factors = (0.5, 0.625, 0.75, 1.0, 1.25, 1.5, 2.0)
    stem_kernel_sizes: Sizes = (3, 5)
    kernel_sizes: KernelSizes = (3, 5, 7)
    splits: Annotated[tuple[tuple[PositiveInt, PositiveInt], ...], Meta(min_length=1)] = ((1, 1),)
    expand_ratios: Factors = (1, 2, 3, 4, 5, 6)
    squeeze_excite: tuple[GateUse, ...] = (
        "none", "none", "optional", "none", "optional", "optional",
    )  # fmt: skip
    gate: GateSettings = GateSettings()
    gate_ratios: tuple[PositiveFloat, ...] | None = None
    depths: tuple[tuple[PositiveInt, PositiveInt], ...] = ((1, 4),) * 5
    strides: tuple[Literal[1, 2], ...] = (2, 1, 2, 2, 2, 1, 2, 1, 1)
    activations: tuple[Activation, ...] = (
        "hswish", "relu", "relu", "relu", "hswish", "hswish", "hswish", "hswish", "hswish",
    )  # fmt: skip
    first_kernel_sizes: KernelSizes | None = None
    first_depths: tuple[PositiveInt, PositiveInt] = (1, 1)
    first_expand_ratios: Annotated[tuple[PositiveFloat | None, ...], Meta(min_length=1)] = (None,)
    first_residual: bool = True
    fused_stages: Annotated[int, Meta(ge=0)] = 0
    head: Literal["hidden", "mix"] = "hidden"
    hidden_bias: bool = True
    same_padding: bool = False
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    drop_path: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    bn_eps: PositiveFloat = 1e-3
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.1

    # An architecture spells kernel, ratio and gate of every block: the ranges add nothing.
    adaptable: ClassVar[frozenset[str]] = SearchSpace.adaptable | {
        "stem_kernel_sizes",
        "kernel_sizes",
        "splits",
        "expand_ratios",
        "squeeze_excite",
        "depths",
        "first_kernel_sizes",
        "first_depths",
        "first_expand_ratios",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = len(self.base_widths)
        stages = widths - (3 if self.head == "hidden" else 2)
        expected = {
            "strides": widths,
            "activations": widths,
            "squeeze_excite": stages,
            "depths": stages - 1,
            **({"gate_ratios": stages} if self.gate_ratios is not None else {}),
        }
        for name, length in expected.items():
            got = len(getattr(self, name))
            if stages < 2 or got != length:
                raise InvalidArgument(
                    f"MobileNetV3Space: {widths} base_widths with head={self.head!r} need "
                    f"{length} {name}, got {got}"
                )
        for least, most in (self.first_depths, *self.depths):
            if least > most:
                raise InvalidArgument(
                    f"MobileNetV3Space: depths {least} to {most}: expected the least first"
                )

    @classmethod
    def load_supernet(cls, name: str, **options: Any) -> Supernet:
        """Return a Once-for-All supernet; see `zoo.supernet.load_once_for_all`."""
        return load_once_for_all(name, cls, **options)

    def choices(self) -> dict[str, Choice]:
        choices: dict[str, Choice] = {"stem_kernel": OneOf(self.stem_kernel_sizes)}
        for stage, gate_use in enumerate(self.squeeze_excite):
            ratios = self.expand_ratios if stage else self.first_expand_ratios
            least, most = self.depths[stage - 1] if stage else self.first_depths
            kernels = self.kernel_sizes if stage else self.first_kernel_sizes or self.kernel_sizes
            options = block_options(kernels, ratios, _GATES[gate_use], self.splits)
            choices[f"s{stage}"] = Stage(options, tuple(range(least, most + 1)))
        if len(self.width_multipliers) > 1:
            for stage in range(len(self.base_widths) - 1):
                choices[f"s{stage}_width"] = OneOf(self.width_multipliers)
        return choices

    def build_network(self, architecture: Architecture) -> MobileNetwork:
        widths = self._widths(architecture)
        stages: list[tuple[BlockPlan | ConvPlan, ...]] = []
        for stage in range(len(self.squeeze_excite)):
            blocks = []
            for position, label in enumerate(architecture[f"s{stage}"]):
                in_channels = widths[stage] if position == 0 else widths[stage + 1]
                stride = self.strides[stage + 1] if position == 0 else 1
                blocks.append(
                    self._plan_block(label, stage, in_channels, widths[stage + 1], stride)
                )
            stages.append(tuple(blocks))
        last_conv = ConvPlan(
            widths[len(stages) + 1], 1, self.strides[len(stages) + 1],
            self.activations[len(stages) + 1],
        )  # fmt: skip
        with_hidden = self.head == "hidden"
        if with_hidden:
            stages.append((last_conv,))
        plan = MobilePlan(
            stem=ConvPlan(
                widths[0], architecture["stem_kernel"], self.strides[0], self.activations[0]
            ),
            stages=tuple(stages),
            final=None if with_hidden else last_conv,
            hidden=(widths[-1], self.activations[-1], self.hidden_bias) if with_hidden else None,
            norm=BatchNormSettings(self.bn_eps, self.bn_momentum),
            drop_path=self.drop_path,
            same_padding=self.same_padding,
        )
        return MobileNetwork(
            plan, num_classes=self.num_classes, in_chans=self.in_chans, dropout=self.dropout
        )

    def diagram(self, architecture: Architecture) -> Diagram:
        """Return the stages as a table, the last convolution with them where it is one."""
        self.check(architecture)
        with EmptyParameters():
            network = self.build_network(architecture)
        names = [f"s{n}" for n in range(len(self.squeeze_excite))]
        stages = [(name, architecture[name]) for name in names]
        if self.head == "hidden":
            stages.append(("last", ["1x1 convolution"]))
        return [stage_table(network, stages)]

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `stem_ks`, `s0_i0_ks`, `s1_i0_exp` …."""
        space = "MobileNetV3Space"
        labels = dict(architecture)
        # NNI's Cream dictionaries carry a depth for s0 that its own space does not declare.
        labels.pop("s0_depth", None)
        converted: Architecture = {"stem_kernel": take_label(labels, "stem_ks", space)}
        for stage, gate_use in enumerate(self.squeeze_excite):
            depth = 1 if stage == 0 else take_label(labels, f"s{stage}_depth", space, int)
            blocks = []
            for index in range(depth):
                prefix = f"s{stage}_i{index}"
                kernel = take_label(labels, f"{prefix}_ks", space, int)
                ratio = (
                    None if stage == 0 else take_label(labels, f"{prefix}_exp", space, (int, float))
                )
                gated = gate_use == "force" or (
                    gate_use == "optional" and take_label(labels, f"{prefix}_se", space) == "se"
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
        widths = []
        for index, base in enumerate(self.base_widths):
            # TuNAS: the stem shares the multiplier of the first stage.
            multiplier = architecture.get(f"s{max(index - 1, 0)}_width", self.width_multipliers[0])
            widths.append(base if multiplier == 1 else round_channels(base * multiplier))
        return widths

    def _plan_block(
        self, label: str, stage: int, in_channels: int, out_channels: int, stride: int
    ) -> BlockPlan:
        block = read_label(label)
        activation = self.activations[stage + 1]
        hidden = (
            None if block.expand_ratio is None else round_channels(in_channels * block.expand_ratio)
        )
        gate_ratio = self.gate_ratios[stage] if self.gate_ratios else None
        return BlockPlan(
            out_channels,
            block.kernel_size,
            stride,
            activation,
            hidden,
            self.gate.plan(in_channels, hidden, activation, gate_ratio)
            if block.squeeze_excite
            else None,
            residual=stage > 0 or self.first_residual,
            expand_splits=block.expand_splits,
            project_splits=block.project_splits,
            fused=stage < self.fused_stages,
        )
