"""Block labels of the spaces made of inverted residuals: `k5e3`, `k3e2.5_se`, `k3`.

`k3-5-7e6` has a mixed convolution of three kernel sizes; `_a2` and `_p2` say that the
widening and the narrowing convolution work on two halves of the channels.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.diagram import Table
from zoo.errors import InvalidArchitecture, InvalidArgument

if TYPE_CHECKING:
    from zoo.networks.mobile import MobileNetwork

_LABEL = re.compile(r"k(\d+(?:-\d+)*)(?:e([\d.]+))?(_se)?(?:_a(\d+))?(?:_p(\d+))?")

KernelSize = int | tuple[int, ...]


class BlockLabel(NamedTuple):
    """What a block label says; `expand_ratio` None means no widening convolution."""

    kernel_size: KernelSize
    expand_ratio: float | None
    squeeze_excite: bool
    expand_splits: int = 1
    project_splits: int = 1


def write_label(
    kernel_size: KernelSize,
    expand_ratio: float | None,
    squeeze_excite: bool = False,
    expand_splits: int = 1,
    project_splits: int = 1,
) -> str:
    """Return the label of one block."""
    kernel = kernel_size if isinstance(kernel_size, int) else "-".join(map(str, kernel_size))
    ratio = "" if expand_ratio is None else f"e{expand_ratio:g}"
    gate = "_se" if squeeze_excite else ""
    expand = "" if expand_splits == 1 else f"_a{expand_splits}"
    project = "" if project_splits == 1 else f"_p{project_splits}"
    return f"k{kernel}{ratio}{gate}{expand}{project}"


def read_label(label: str) -> BlockLabel:
    """Return what a label says; only for labels that `check` has passed."""
    match = _LABEL.fullmatch(label)
    assert match, label
    kernel, ratio, gate, expand, project = match.groups()
    sizes = tuple(map(int, kernel.split("-")))
    return BlockLabel(
        sizes if "-" in kernel else int(kernel),
        float(ratio) if ratio else None,
        gate is not None,
        int(expand or 1),
        int(project or 1),
    )


def block_options(
    kernel_sizes: Sequence[KernelSize],
    expand_ratios: Sequence[float | None],
    squeeze_excite: Sequence[bool] = (False,),
    splits: Sequence[tuple[int, int]] = ((1, 1),),
) -> tuple[str, ...]:
    """Return the labels of all combinations.

    Args:
        splits: Parts of the widening and of the narrowing convolution.

    Raises:
        InvalidArgument: a kernel size is even or alone in a tuple, or a ratio cannot be
            written in a label.
    """
    labels = []
    for kernel, ratio, gate, parts in itertools.product(
        kernel_sizes, expand_ratios, squeeze_excite, splits
    ):
        label = write_label(kernel, ratio, gate, *parts)
        for size in (kernel,) if isinstance(kernel, int) else kernel:
            if size % 2 == 0:
                raise InvalidArgument(
                    f"kernel size {size}: expected an odd number, to keep the size"
                )
        if not isinstance(kernel, int) and len(kernel) < 2:
            raise InvalidArgument(
                f"kernel sizes {kernel}: a mixed convolution has two or more; write 3, not [3]"
            )
        if not _LABEL.fullmatch(label) or read_label(label) != (kernel, ratio, gate, *parts):
            raise InvalidArgument(
                f"expand ratio {ratio!r}: expected at most six digits and no exponent, "
                f"because a block label such as {label!r} must give it back"
            )
        labels.append(label)
    return tuple(labels)


def round_channels(channels: float, divisor: int = 8, round_limit: float = 0.9) -> int:
    """Return the nearest multiple of `divisor` that is not below `round_limit` × `channels`.

    Source: MobileNet code, `_make_divisible`; as in timm's `make_divisible`.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * channels else rounded


def stage_table(network: MobileNetwork, stages: Sequence[tuple[str, Sequence[str]]]) -> Table:
    """Return a chain as a table: name and blocks of each stage, width, size of its output."""
    rows = [
        (name, " ".join(blocks), str(channels), f"1/{reduction}")
        for (name, blocks), (channels, reduction) in zip(stages, network.stage_shapes, strict=True)
    ]
    return Table("stages", ("stage", "blocks", "channels", "size"), tuple(rows))


def take_label(
    architecture: dict[str, Any], label: str, space: str, kind: type | tuple[type, ...] = object
) -> Any:
    """Remove and return an NNI choice; the caller checks that nothing is left over.

    Args:
        kind: What the value must be an instance of.

    Raises:
        InvalidArchitecture: the label is not there, or its value is of another type.
    """
    if label not in architecture:
        raise InvalidArchitecture(f"{space}: the NNI architecture lacks {label!r}")
    value = architecture.pop(label)
    if not isinstance(value, kind):
        raise InvalidArchitecture(f"{space}: NNI label {label!r} cannot be {value!r}")
    return value


def check_nothing_left(architecture: Mapping[str, Any], space: str) -> None:
    """Raise InvalidArchitecture naming NNI labels that were not used."""
    if architecture:
        raise InvalidArchitecture(
            f"{space}: NNI labels that this space does not declare: {', '.join(architecture)}"
        )
