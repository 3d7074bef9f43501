"""NNI 3.0's side of `space_operations`; runs in an environment of its own (requirements-nni.txt).

Every operation is done in the fastest way that NNI offers: the space is constructed and
simplified once, though NNI's own strategies simplify it anew for every architecture.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import nni  # pyright: ignore[reportMissingImports]
import nni.nas.hub.pytorch as hub  # pyright: ignore[reportMissingImports]
from numpy.random import RandomState

# The settings with which NNI's space is the zoo's with its defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "DARTS": {"width": 36, "num_cells": 20},
    "MobileNetV3Space": {},
}
MUTATION_PROBABILITY = 0.05  # the default of NNI's regularised evolution


def print_architectures(space_name: str, count: int) -> None:
    """Print random architectures as one line of JSON, so that others build the same ones."""
    mutables = getattr(hub, space_name)(**SETTINGS[space_name]).simplify()
    rng = RandomState(0)
    print(json.dumps([_sample(mutables, rng) for _ in range(count)]))


def operations(space_name: str, architectures: Sequence[Any]) -> dict[str, Callable[[], Any]]:
    """Return what is timed; building goes round through the architectures."""
    make, settings = getattr(hub, space_name), SETTINGS[space_name]
    space, rng = make(**settings), RandomState(0)
    mutables = space.simplify()
    every = itertools.cycle(architectures)
    return {
        "sample": lambda: _sample(mutables, rng),
        "mutate": lambda: _mutate(mutables, next(every), rng),
        "encode": lambda: nni.dump(next(every)),
        "sample + mutate + encode": lambda: nni.dump(
            _mutate(mutables, _sample(mutables, rng), rng)
        ),
        "build": lambda: space.freeze(next(every)),
        "build, space from nothing": lambda: make(**settings).freeze(next(every)),
        "build, no space kept": lambda: make.frozen_factory(next(every))(**settings),
    }


def _sample(mutables: dict[str, Any], rng: RandomState) -> dict[str, Any]:
    # What `space.random()` does before it builds the network as well.
    sample: dict[str, Any] = {}
    for mutable in mutables.values():
        mutable.random(sample, rng)
    return sample


def _mutate(mutables: dict[str, Any], sample: dict[str, Any], rng: RandomState) -> dict[str, Any]:
    # As `nni.nas.strategy.RegularizedEvolution.new_individual` does, without building.
    child = dict(sample)
    for label, mutable in mutables.items():
        if rng.uniform(0, 1) < MUTATION_PROBABILITY:
            child[label] = mutable.random(random_state=rng)
    return child
