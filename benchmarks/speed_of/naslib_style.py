"""A stand-in for how NASLib makes a network of the DARTS space. It is not NASLib.

NASLib (https://github.com/automl/NASLib) makes a graph of the whole space, in which every
edge of every cell holds all its candidate operations as modules, and then sets one operation
for each edge that an architecture has and discards the rest. This file does that with plain
modules: no graph library, no deep copies, no wrapping of primitives, so it costs less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from zoo import DARTS

OPERATORS, NODES = DARTS().operators, DARTS().nodes
WIDTH, NUM_CELLS = 36, 20  # of the zoo's space with its defaults


def operations(space_name: str, architectures: Sequence[Any]) -> dict[str, Callable[[], Any]]:
    """Return what is timed; building goes round through the architectures."""
    assert space_name == "DARTS", space_name
    every = itertools.cycle(architectures)
    return {"build": lambda: build(next(every))}


def build(architecture: dict[str, Any]) -> nn.Module:
    """Return the modules of a network: all candidates are made, those not chosen discarded."""
    graph = nn.ModuleList(make_cell(*place) for place in places())
    for index, cell in enumerate(graph):
        assert isinstance(cell, nn.ModuleDict)
        name = "reduce" if index in REDUCING else "normal"
        keep_chosen(cell, architecture, name)
    stem = nn.Sequential(
        nn.Conv2d(3, 3 * WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(3 * WIDTH)
    )
    return nn.ModuleList([stem, graph, nn.Linear(4 * WIDTH * NODES, 10)])


REDUCING = (NUM_CELLS // 3, 2 * NUM_CELLS // 3)


def places() -> list[tuple[int, int, int, int, bool]]:
    """Return for each cell: channels of both inputs, width, stride, whether the older is larger."""
    older = newer = 3 * WIDTH
    width, found, larger = WIDTH, [], False
    for index in range(NUM_CELLS):
        stride = 2 if index in REDUCING else 1
        width *= stride
        found.append((older, newer, width, stride, larger))
        older, newer, larger = newer, NODES * width, stride == 2
    return found


def make_cell(older: int, newer: int, width: int, stride: int, larger: bool) -> nn.ModuleDict:
    """Return both projections, and all candidates of all edges as `source-target`."""
    cell = nn.ModuleDict(
        {"0": conv(older, width, 1, 2 if larger else 1), "1": conv(newer, width, 1)}
    )
    for target in range(2, NODES + 2):
        for source in range(target):
            candidates = {
                name: make_operator(name, width, stride if source < 2 else 1) for name in OPERATORS
            }
            cell[f"{source}-{target}"] = nn.ModuleDict(candidates)
    return cell


def keep_chosen(cell: Any, architecture: dict[str, Any], name: str) -> None:
    """Put each edge's chosen operation in its place and discard all other candidates."""
    for target in range(2, NODES + 2):
        chosen = {
            f"{slot}-{target}": cell[f"{architecture[f'{name}/input_{target}_{slot}']}-{target}"][
                architecture[f"{name}/op_{target}_{slot}"]
            ]
            for slot in (0, 1)
        }
        for source in range(target):
            del cell[f"{source}-{target}"]
        cell.update(chosen)


def make_operator(name: str, width: int, stride: int) -> nn.Module:
    """Return one candidate, as in DARTS."""
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else conv(width, width, 1, 2)
    kernel = int(name[-1])
    if "pool" in name:
        pool = nn.MaxPool2d if name.startswith("max") else nn.AvgPool2d
        return pool(kernel, stride, kernel // 2)
    if name.startswith("dil"):
        return separable(width, kernel, stride, dilation=2)
    return nn.Sequential(separable(width, kernel, stride), separable(width, kernel, 1))


def separable(width: int, kernel: int, stride: int, dilation: int = 1) -> nn.Sequential:
    """Return ReLU, depthwise and 1×1 convolution, BatchNorm."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(width, width, kernel, stride, padding, dilation, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
    )


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return ReLU, convolution, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )
