"""ShuffleNetSpace: twenty shuffle blocks; each chooses its kind, and optionally its width."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from zoo.errors import InvalidArchitecture, InvalidArgument
from zoo.layers.conv import BatchNormSettings
from zoo.networks.shufflenet import ShuffleNetwork, ShufflePlan
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf
from zoo.spaces.mbconv import check_nothing_left, take_label

# The order of the authors' block numbers: 0 is k3, 3 is xcep.
BLOCKS = ("k3", "k5", "k7", "xcep")
SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
STAGE_DEPTHS = (4, 4, 8, 4)
DEPTH = sum(STAGE_DEPTHS)

_NUMBERS = re.compile(r"[(\[]\s*\d+(?:\s*,\s*\d+)*\s*,?\s*[)\]]")

EvenInt = Annotated[int, Meta(ge=2, multiple_of=2)]


class ShuffleNetSpace(SearchSpace, frozen=True, kw_only=True):
    """Twenty choice blocks: `4 ** 20` architectures, `32 ** 20` with channel search.

    Source: Single Path One-Shot, section 4, https://arxiv.org/abs/1904.00420;
    code megvii-model/SinglePathOneShot at 36eed6c, and for channel search
    megvii-model/ShuffleNet-Series at aa91feb, `OneShot`. Choices are
    `layer_1` … `layer_20`, one of `k3`, `k5`, `k7`, `xcep`, and with channel
    search `scale_1` … `scale_20`, the block's middle width relative to half of
    its output channels.

    Args:
        channel_search: Every block chooses its middle width too.
        widths: Output channels of stem, four stages, and the last convolution.
        strides: Of stem and four stages.
        dropout: Probability before the classifier.
    """

    channel_search: bool = False
    widths: tuple[EvenInt, ...] = (16, 64, 160, 320, 640, 1024)
    strides: tuple[Literal[1, 2], ...] = (2, 2, 2, 2, 2)
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    bn_eps: Annotated[float, Meta(gt=0)] = 1e-5
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != 6 or len(self.strides) != 5:
            raise InvalidArgument(
                f"ShuffleNetSpace: expected 6 widths and 5 strides, got {len(self.widths)} "
                f"and {len(self.strides)}"
            )
        if any(
            after <= before for before, after in zip(self.widths[:4], self.widths[1:5], strict=True)
        ):
            raise InvalidArgument(
                f"ShuffleNetSpace: a stage must be wider than the one before, got {self.widths}: "
                "the channels of its first block's shortcut are part of its output"
            )

    def choices(self) -> dict[str, Choice]:
        choices: dict[str, Choice] = {f"layer_{n}": OneOf(BLOCKS) for n in range(1, DEPTH + 1)}
        if self.channel_search:
            choices |= {f"scale_{n}": OneOf(SCALES) for n in range(1, DEPTH + 1)}
        return choices

    def build_network(self, architecture: Architecture) -> ShuffleNetwork:
        stages, number = [], 0
        for depth, width, stride in zip(
            STAGE_DEPTHS, self.widths[1:5], self.strides[1:], strict=True
        ):
            blocks = []
            for position in range(depth):
                number += 1
                kind = architecture[f"layer_{number}"]
                blocks.append(
                    ShufflePlan(
                        out_channels=width,
                        middle_channels=self._middle_channels(architecture, number),
                        kernel_size=3 if kind == "xcep" else int(kind.removeprefix("k")),
                        stride=stride if position == 0 else 1,
                        separable=kind == "xcep",
                    )
                )
            stages.append(blocks)
        return ShuffleNetwork(
            stages,
            stem_channels=self.widths[0],
            stem_stride=self.strides[0],
            final_channels=self.widths[5],
            num_classes=self.num_classes,
            in_chans=self.in_chans,
            dropout=self.dropout,
            norm=BatchNormSettings(self.bn_eps, self.bn_momentum),
        )

    def write_notation(self, architecture: Architecture) -> str:
        """Return the authors' block numbers, `(2, 1, 0, …)`; then, if searched, scale numbers."""
        self.check(architecture)
        kinds = tuple(BLOCKS.index(architecture[f"layer_{n}"]) for n in range(1, DEPTH + 1))
        if not self.channel_search:
            return str(kinds)
        scales = tuple(SCALES.index(architecture[f"scale_{n}"]) for n in range(1, DEPTH + 1))
        return f"{kinds} {scales}"

    def read_notation(self, text: str) -> Architecture | None:
        lists = _NUMBERS.findall(text)
        if not lists or _NUMBERS.sub("", text).strip(" ,;()[]\n"):
            return None
        architecture: Architecture = {}
        tables = (("layer", BLOCKS), ("scale", SCALES))
        for (name, options), numbers in zip(tables, lists, strict=False):
            for position, number in enumerate(map(int, re.findall(r"\d+", numbers)), start=1):
                if number >= len(options):
                    raise InvalidArchitecture(
                        f"ShuffleNetSpace: {name} {position}: number {number} is not one of "
                        f"0 … {len(options) - 1}"
                    )
                architecture[f"{name}_{position}"] = options[number]
        return architecture

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `layer_1` …, `channel_1` … (middle widths)."""
        labels = dict(architecture)
        converted: Architecture = {}
        for number in range(1, DEPTH + 1):
            name = f"layer_{number}"
            converted[name] = take_label(labels, name, "ShuffleNetSpace")
        for number in range(1, DEPTH + 1) if self.channel_search else ():
            label = f"channel_{number}"
            channels = take_label(labels, label, "ShuffleNetSpace")
            by_channels = {_scaled(self._base_width(number), scale): scale for scale in SCALES}
            if channels not in by_channels:
                raise InvalidArchitecture(
                    f"ShuffleNetSpace: {label} is {channels!r}, expected one of "
                    f"{', '.join(map(str, by_channels))}"
                )
            converted[f"scale_{number}"] = by_channels[channels]
        check_nothing_left(labels, "ShuffleNetSpace")
        self.check(converted)
        return converted

    def _base_width(self, number: int) -> int:
        widths = [w for w, d in zip(self.widths[1:5], STAGE_DEPTHS, strict=True) for _ in range(d)]
        return widths[number - 1] // 2

    def _middle_channels(self, architecture: Architecture, number: int) -> int:
        base = self._base_width(number)
        return _scaled(base, architecture[f"scale_{number}"]) if self.channel_search else base


def _scaled(base: int, scale: float) -> int:
    # Scales are tenths: 1.4 of 160 is exactly 224, whatever a float makes of it.
    return base * round(scale * 10) // 10
