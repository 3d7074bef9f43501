"""Block labels of the spaces made of inverted residuals: `k5e3`, `k3e2.5_se`, `k3`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zoo.errors import InvalidArchitecture

_LABEL = re.compile(r"k(\d+)(?:e([\d.]+))?(_se)?")


class BlockLabel(NamedTuple):
    """What a block label says; `expand_ratio` None means no widening convolution."""

    kernel_size: int
    expand_ratio: float | None
    squeeze_excite: bool


def write_label(kernel_size: int, expand_ratio: float | None, squeeze_excite: bool = False) -> str:
    """Return the label of one block."""
    ratio = "" if expand_ratio is None else f"e{expand_ratio:g}"
    return f"k{kernel_size}{ratio}{'_se' if squeeze_excite else ''}"


def read_label(label: str) -> BlockLabel:
    """Return what a label says; only for labels that `check` has passed."""
    match = _LABEL.fullmatch(label)
    assert match, label
    kernel, ratio, gate = match.groups()
    return BlockLabel(int(kernel), float(ratio) if ratio else None, gate is not None)


def block_options(
    kernel_sizes: Sequence[int],
    expand_ratios: Sequence[float | None],
    squeeze_excite: Sequence[bool] = (False,),
) -> tuple[str, ...]:
    """Return the labels of all combinations."""
    return tuple(
        write_label(kernel, ratio, gate)
        for kernel in kernel_sizes
        for ratio in expand_ratios
        for gate in squeeze_excite
    )


def round_channels(channels: float, divisor: int = 8) -> int:
    """Return the nearest multiple of `divisor` that is not below 90 % of `channels`.

    Source: MobileNet code, `_make_divisible`; as in timm's `make_divisible`.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def take_label(architecture: dict[str, Any], label: str, space: str) -> Any:
    """Remove and return an NNI choice; the caller checks that nothing is left over.

    Raises:
        InvalidArchitecture: the label is not there.
    """
    if label not in architecture:
        raise InvalidArchitecture(f"{space}: the NNI architecture lacks {label!r}")
    return architecture.pop(label)


def check_nothing_left(architecture: Mapping[str, Any], space: str) -> None:
    """Raise InvalidArchitecture naming NNI labels that were not used."""
    if architecture:
        raise InvalidArchitecture(
            f"{space}: NNI labels that this space does not declare: {', '.join(architecture)}"
        )
