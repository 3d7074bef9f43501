"""The zoo's side of `space_operations`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from zoo.registry import find_space


def operations(space_name: str, architectures: Sequence[Any]) -> dict[str, Callable[[], Any]]:
    """Return what is timed; building goes round through the architectures."""
    space, rng = find_space(space_name)(), Random(0)
    every = itertools.cycle(architectures)
    return {
        "sample": lambda: space.sample(rng),
        "mutate": lambda: space.mutate(next(every), rng),
        "encode": lambda: space.encode(next(every)),
        "sample + mutate + encode": lambda: space.encode(space.mutate(space.sample(rng), rng)),
        "build": lambda: space.build(next(every)),
        "build, space from nothing": lambda: type(space)().build(next(every)),
        "build, no space kept": lambda: type(space)().build(next(every)),
    }
