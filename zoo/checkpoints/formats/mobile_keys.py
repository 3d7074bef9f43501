"""Take the keys of a `MobileNetwork` apart, so that formats can spell them their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from zoo.checkpoints.formats.format import rename_by_prefix

# What the convolutions of squeeze-and-excite are called in files that follow EfficientNet.
GATE_NAMES = {"fc1": "conv_reduce", "fc2": "conv_expand"}
PARTS = ("expand", "depthwise", "squeeze_excite", "project")


class BlockKey(NamedTuple):
    """One key inside a block: `stages.2.1.depthwise.conv.weight`.

    `parts` are the parts this block has, in order; a plain convolution has none.
    `flat` counts the blocks of all stages. `leaf` is `conv.weight`, `bn.bias` ….
    """

    stage: int
    index: int
    flat: int
    parts: tuple[str, ...]
    part: str
    leaf: str


def rename(
    keys: Sequence[str], top: dict[str, str], block_name: Callable[[BlockKey], str]
) -> dict[str, str]:
    """Return the file's key for each key.

    Args:
        top: The file's prefix for each prefix outside the stages.
        block_name: The file's key for a key inside a block.
    """
    blocks = parse_block_keys(keys)
    return rename_by_prefix(keys, top, {key: block_name(block) for key, block in blocks.items()})


def gate_leaf(key: BlockKey) -> str:
    """Return the leaf of a squeeze-and-excite key under its EfficientNet name."""
    module, _, leaf = key.leaf.partition(".")
    return f"{GATE_NAMES[module]}.{leaf}"


def parse_block_keys(keys: Sequence[str]) -> dict[str, BlockKey]:
    """Return the parts of every key under `stages.`, by key."""
    parts_of: dict[tuple[int, int], set[str]] = {}
    split: dict[str, tuple[int, int, str, str]] = {}
    for key in keys:
        if key.startswith("stages."):
            _, stage, index, rest = key.split(".", 3)
            part, _, leaf = rest.partition(".")
            if part not in PARTS:
                part, leaf = "", rest
            split[key] = int(stage), int(index), part, leaf
            parts_of.setdefault((int(stage), int(index)), set()).add(part)
    flat = {place: count for count, place in enumerate(sorted(parts_of))}
    return {
        key: BlockKey(
            stage,
            index,
            flat[stage, index],
            tuple(p for p in PARTS if p in parts_of[stage, index]),
            part,
            leaf,
        )
        for key, (stage, index, part, leaf) in split.items()
    }
