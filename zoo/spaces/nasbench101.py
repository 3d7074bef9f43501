"""NAS-Bench-101: one cell, a graph of up to seven vertices and nine edges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from zoo.diagram import Diagram, Graph
from zoo.errors import InvalidArchitecture
from zoo.layers.conv import BatchNormSettings
from zoo.networks.nasbench101 import NasBench101Network
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.cell_graph import (
    INPUT,
    OUTPUT,
    count_matrices,
    draw_matrix,
    graph_hash,
    prune,
)
from zoo.spaces.choices import Choice
from zoo.spaces.mbconv import check_nothing_left, take_label

# The order of the benchmark's `available_ops`: the graph hash depends on it.
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")


class CellGraph(msgspec.Struct, frozen=True):
    """A graph as `{"matrix": rows, "operations": names}`, dangling vertices allowed.

    Legal is an upper triangular 0/1 matrix of at most `max_vertices` vertices, in which
    the input reaches the output and at most `max_edges` edges lie on such paths.
    """

    operations: tuple[str, ...]
    max_vertices: int
    max_edges: int

    def size(self) -> int:
        return sum(self._counts())

    def sample(self, rng: Random) -> dict[str, Any]:
        """Draw uniformly from all legal graphs."""
        (vertices,) = rng.choices(range(2, self.max_vertices + 1), self._counts())
        interior = [rng.choice(self.operations) for _ in range(vertices - 2)]
        matrix = draw_matrix(vertices, self.max_edges, rng)
        return {"matrix": matrix, "operations": [INPUT, *interior, OUTPUT]}

    def neighbours(self, value: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield graphs with one edge toggled, one operation replaced, or the number of vertices
        changed by one: an unconnected vertex appended to, or dropped from, the interior."""
        matrix, operations = value["matrix"], value["operations"]
        last = len(matrix) - 1
        for source in range(last):
            for target in range(source + 1, last + 1):
                toggled = [list(row) for row in matrix]
                toggled[source][target] = 1 - toggled[source][target]
                if self._matrix_problem(toggled) is None:
                    yield {"matrix": toggled, "operations": operations}
        for vertex in range(1, last):
            for name in self.operations:
                if name != operations[vertex]:
                    changed = [*operations[:vertex], name, *operations[vertex + 1 :]]
                    yield {"matrix": matrix, "operations": changed}
        if last > 1 and not any(matrix[last - 1]) and not any(row[last - 1] for row in matrix):
            yield {
                "matrix": [[*row[: last - 1], row[last]] for row in _without(matrix, last - 1)],
                "operations": _without(operations, last - 1),
            }
        if len(matrix) < self.max_vertices:
            wider = [[*row[:last], 0, row[last]] for row in matrix]
            wider.insert(last, [0] * (last + 2))
            for name in self.operations:
                yield {"matrix": wider, "operations": [*operations[:last], name, OUTPUT]}

    def problem(self, value: Any) -> str | None:
        """Return why `value` is illegal, or None."""
        if not isinstance(value, dict) or set(value) != {"matrix", "operations"}:
            return "expected a dictionary of 'matrix' and 'operations'"
        matrix, operations = value["matrix"], value["operations"]
        problem = self._matrix_problem(matrix)
        if problem:
            return problem
        if not isinstance(operations, list) or len(operations) != len(matrix):
            return f"{len(matrix)} vertices need a list of as many operations, got {operations!r}"
        if operations[0] != INPUT or operations[-1] != OUTPUT:
            return f"operations must start with {INPUT!r} and end with {OUTPUT!r}"
        for vertex, name in enumerate(operations[1:-1], start=1):
            if name not in self.operations:
                return f"vertex {vertex}: {name!r} is not one of {', '.join(self.operations)}"
        return None

    def _counts(self) -> list[int]:
        return [
            count_matrices(vertices, self.max_edges) * len(self.operations) ** (vertices - 2)
            for vertices in range(2, self.max_vertices + 1)
        ]

    def _matrix_problem(self, matrix: Any) -> str | None:
        if not isinstance(matrix, list) or not 2 <= len(matrix) <= self.max_vertices:
            return f"the matrix must be a list of 2 … {self.max_vertices} rows"
        for number, row in enumerate(matrix):
            if not isinstance(row, list) or len(row) != len(matrix):
                return f"row {number} of the matrix must be a list of {len(matrix)} numbers"
            if any(type(entry) is not int or entry not in (0, 1) for entry in row):
                return f"row {number} of the matrix may hold 0 and 1 only, got {row!r}"
            if any(row[: number + 1]):
                return f"the matrix must be upper triangular, row {number} is {row!r}"
        kept = prune(matrix)
        if not kept:
            return "the input is not connected to the output"
        edges = sum(matrix[source][target] for source in kept for target in kept)
        if edges > self.max_edges:
            return f"{edges} edges lie between input and output, at most {self.max_edges} may"
        return None


class NasBench101(SearchSpace, frozen=True, kw_only=True):
    """Every cell of up to seven vertices and nine edges, with three operations.

    Source: NAS-Bench-101, section 2, https://arxiv.org/abs/1902.09635; code
    google-research/nasbench at b942470. The one choice is `cell`, a matrix with
    operations in the benchmark's notation. As there, vertices that lie on no
    path from input to output are allowed and pruned when the network is built,
    and the limit on edges is one on the pruned graph.

    `size()` counts what `check` accepts, 375,975,790 pairs of a matrix of 2 … 7 vertices and
    its operations, with dangling vertices and isomorphic copies counted apart. Pruned, and
    with isomorphic graphs (equal `graph_hash`) counted once, 423,624 cells are left:
    the rows of the benchmark's table. `sample` is uniform over what `size()` counts.

    Args:
        channels: Width of stem and first stack; it doubles with every further stack.
        stacks, cells_per_stack: How often the cell is repeated.
        max_vertices: With input and output.
        max_edges: After pruning.
    """

    num_classes: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    channels: Annotated[int, Meta(ge=8)] = 128
    stacks: Annotated[int, Meta(ge=1)] = 3
    cells_per_stack: Annotated[int, Meta(ge=1)] = 3
    max_vertices: Annotated[int, Meta(ge=2, le=7)] = 7
    max_edges: Annotated[int, Meta(ge=1, le=21)] = 9
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    bn_eps: Annotated[float, Meta(gt=0)] = 1e-5
    # TensorFlow's 0.997, as PyTorch counts it.
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.003

    adaptable: ClassVar[frozenset[str]] = SearchSpace.adaptable | {"max_vertices", "max_edges"}

    def choices(self) -> dict[str, Choice]:
        return {"cell": CellGraph(OPERATIONS, self.max_vertices, self.max_edges)}

    def build_network(self, architecture: Architecture) -> NasBench101Network:
        cell = self.prune(architecture)["cell"]
        return NasBench101Network(
            cell["matrix"],
            cell["operations"],
            channels=self.channels,
            stacks=self.stacks,
            cells_per_stack=self.cells_per_stack,
            num_classes=self.num_classes,
            in_chans=self.in_chans,
            dropout=self.dropout,
            norm=BatchNormSettings(self.bn_eps, self.bn_momentum),
        )

    def diagram(self, architecture: Architecture) -> Diagram:
        """Return the pruned cell as a graph; its vertices are the operators."""
        cell = self.prune(architecture)["cell"]
        graph = Graph("cell")
        for vertex, operation in enumerate(cell["operations"]):
            kind = "state" if operation in (INPUT, OUTPUT) else "operator"
            graph.nodes[str(vertex)] = (operation, kind)
        for source, row in enumerate(cell["matrix"]):
            graph.edges += [(str(source), str(target)) for target, on in enumerate(row) if on]
        return [graph]

    def prune(self, architecture: Architecture) -> Architecture:
        """Return the architecture without vertices that lie on no path from input to output."""
        self.check(architecture)
        cell = architecture["cell"]
        kept = prune(cell["matrix"])
        return {
            "cell": {
                "matrix": [[cell["matrix"][source][target] for target in kept] for source in kept],
                "operations": [cell["operations"][vertex] for vertex in kept],
            }
        }

    def graph_hash(self, architecture: Architecture) -> str:
        """Return the benchmark's 32 hex digits for the pruned cell; isomorphic cells share them.

        It is the key of the benchmark's table. `architecture_hash` is finer: it tells
        isomorphic cells apart, because their weights have different keys.
        """
        cell = self.prune(architecture)["cell"]
        labels = [-1, *(OPERATIONS.index(name) for name in cell["operations"][1:-1]), -2]
        return graph_hash(cell["matrix"], labels)

    def architecture_hash(self, architecture: Architecture) -> str:
        """Return 64 hex digits that name this network body; dangling vertices do not count."""
        return super().architecture_hash(self.prune(architecture))

    def write_notation(self, architecture: Architecture) -> str:
        """Return the benchmark's matrix and operations, as `ModelSpec(matrix=…, ops=…)` takes."""
        self.check(architecture)
        cell = architecture["cell"]
        return f"matrix={json.dumps(cell['matrix'])}, ops={json.dumps(cell['operations'])}"

    def read_notation(self, text: str) -> Architecture | None:
        match = _NOTATION.search(text)
        if not match:
            return None
        try:
            matrix, operations = (json.loads(part.replace("'", '"')) for part in match.groups())
        except (ValueError, RecursionError) as error:
            raise InvalidArchitecture(
                f"NasBench101: cannot decode {text[:80]!r}: {error}"
            ) from None
        return {"cell": {"matrix": matrix, "operations": operations}}

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `cell/num_nodes`, `cell/op1`, `cell/input1` …"""
        labels = {label.removeprefix("cell/"): value for label, value in architecture.items()}
        inputs = [int(label[5:]) for label in labels if re.fullmatch(r"input\d+", label)]
        labels.setdefault("num_nodes", 1 + max(inputs, default=0))
        vertices = take_label(labels, "num_nodes", "NasBench101", int)
        matrix = [[0] * vertices for _ in range(vertices)]
        for target in range(1, vertices):
            for source in take_label(labels, f"input{target}", "NasBench101", list):
                if not isinstance(source, int) or not 0 <= source < target:
                    raise InvalidArchitecture(
                        f"NasBench101: input{target} names vertex {source!r}, expected one of "
                        f"0 … {target - 1}"
                    )
                matrix[source][target] = 1
        interior = [take_label(labels, f"op{v}", "NasBench101") for v in range(1, vertices - 1)]
        check_nothing_left(labels, "NasBench101")
        converted = {"cell": {"matrix": matrix, "operations": [INPUT, *interior, OUTPUT]}}
        self.check(converted)
        return converted


_NOTATION = re.compile(
    r"matrix['\"]?\s*[=:]\s*(\[\s*\[.*?\]\s*\])\s*,\s*['\"]?op(?:eration)?s['\"]?\s*[=:]\s*(\[.*?\])",
    re.DOTALL,
)


def _without(items: list[Any], index: int) -> list[Any]:
    return [*items[:index], *items[index + 1 :]]
