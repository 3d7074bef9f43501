"""Places for the nodes of a small layered graph, from left to right.

The steps are Sugiyama's: layers by longest path, helper nodes on long edges so
that no edge runs through a box, order within a layer by the mean of the
neighbours. Source: Sugiyama, Tagawa, Toda 1981, https://doi.org/10.1109/TSMC.1981.4308636.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from zoo.diagram import Graph

_SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """`places` maps a node to (layer, row); rows may be fractions. An edge is a list of nodes.

    Inner nodes of an edge are helper nodes: they have a place and no box.
    """

    places: dict[str, tuple[int, float]]
    routes: list[list[str]]
    layers: int
    rows: float


def find_layout(graph: Graph) -> Layout:
    """Return places and routes for every node and edge of a graph without cycles."""
    layer_of = _layers(graph)
    routes, layer_of = _routes(graph, layer_of)
    layers: list[list[str]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for node, layer in layer_of.items():
        layers[layer].append(node)
    neighbours: dict[str, list[str]] = {node: [] for node in layer_of}
    for route in routes:
        for source, target in itertools.pairwise(route):
            neighbours[source].append(target)
            neighbours[target].append(source)
    rows = {node: float(row) for layer in layers for row, node in enumerate(layer)}
    for sweep in range(_SWEEPS):
        direction = 1 if sweep % 2 == 0 else -1
        for index in range(len(layers))[::direction]:
            _order(layers, index, -direction, layer_of, neighbours, rows)
    tallest = max(len(layer) for layer in layers)
    places = {
        node: (layer_of[node], row + (tallest - len(layers[layer_of[node]])) / 2)
        for node, row in rows.items()
    }
    return Layout(places, routes, len(layers), float(tallest))


def _layers(graph: Graph) -> dict[str, int]:
    """Put every node behind all it depends on, and inputs at the left."""
    sources: dict[str, list[str]] = {node: [] for node in graph.nodes}
    for source, target in graph.edges:
        sources[target].append(source)
    layer_of: dict[str, int] = {}

    def layer(node: str) -> int:
        if node not in layer_of:
            layer_of[node] = max((layer(source) + 1 for source in sources[node]), default=0)
        return layer_of[node]

    for node in graph.nodes:
        layer(node)
    return layer_of


def _routes(graph: Graph, layer_of: dict[str, int]) -> tuple[list[list[str]], dict[str, int]]:
    placed, routes = dict(layer_of), []
    for number, (source, target) in enumerate(graph.edges):
        route = [source]
        for layer in range(layer_of[source] + 1, layer_of[target]):
            helper = f"helper {number} {layer}"
            placed[helper] = layer
            route.append(helper)
        routes.append([*route, target])
    return routes, placed


def _order(
    layers: list[list[str]],
    index: int,
    side: int,
    layer_of: dict[str, int],
    neighbours: dict[str, list[str]],
    rows: dict[str, float],
) -> None:
    def mean(node: str) -> float:
        beside = [rows[n] for n in neighbours[node] if (layer_of[n] - index) * side > 0]
        return sum(beside) / len(beside) if beside else rows[node]

    layers[index].sort(key=mean)
    for row, node in enumerate(layers[index]):
        rows[node] = float(row)
