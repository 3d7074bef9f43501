"""What a checkpoint format is: how its keys are recognised and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

# Given all keys of a network and of a file, return the file's key for each of the network's.
Names = Callable[[Sequence[str], Collection[str]], dict[str, str]]
# Given the tensors of a file and the network to fill, return tensors that correspond one to one.
Convert = Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]


@dataclass(frozen=True)
class Format:
    """One way to name the tensors of a network.

    Args:
        name: What `format=` and a manifest call it.
        signature: Pattern that some key of every such file matches, and of other formats none.
        names: For each space, the function from the network's keys to the file's; `"*"` for all.
        as_linear: Keys of the network whose tensor the file keeps as a 1×1 convolution.
        decode: Turns the content of a file that is no state dict into one.
        convert: For each space that needs it, what happens to the tensors before keys are
            compared: slicing a supernet, splitting a tensor, dropping what only training used.
            It drops no key that it does not know, and returns views where it can. `"*"` for all.
    """

    name: str
    signature: str
    names: Mapping[str, Names]
    as_linear: tuple[str, ...] = ()
    decode: Callable[[Any], dict[str, Tensor]] | None = None
    convert: Mapping[str, Convert] = field(default_factory=dict)

    def names_for(self, space: str) -> Names | None:
        """Return the key function of a space, or None where the format does not know it."""
        return self.names.get(space) or self.names.get("*")

    def convert_for(self, space: str) -> Convert | None:
        """Return what happens to the tensors for a space, or None where nothing does."""
        return self.convert.get(space) or self.convert.get("*")


def rename_by_prefix(
    keys: Sequence[str], top: Mapping[str, str], inside: Mapping[str, str]
) -> dict[str, str]:
    """Return the file's key for each key that has one: that of `inside`, or one with its prefix.

    Args:
        top: The file's prefix for each prefix; the longest that fits counts.
        inside: The file's key for keys that a prefix does not decide.
    """
    renamed = {}
    for key in keys:
        if key in inside:
            renamed[key] = inside[key]
            continue
        prefix = max((p for p in top if key.startswith(p + ".")), key=len, default=None)
        if prefix is not None:
            renamed[key] = top[prefix] + key.removeprefix(prefix)
    return renamed
