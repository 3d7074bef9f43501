"""What an architecture looks like, as plain data: graphs of cells, tables of stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Graph:
    """A directed graph without cycles.

    `nodes` maps an id to (label, kind); an edge leads from id to id. States are
    what a cell passes on, operators what it does to them.
    """

    title: str
    nodes: dict[str, tuple[str, Literal["state", "operator"]]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    def add_state(self, key: str, label: str) -> None:
        """Add an input, an inner node, or an output."""
        self.nodes[key] = (label, "state")

    def add_operator(self, label: str, source: str, target: str) -> None:
        """Put an operator between two states."""
        key = f"operator {len(self.nodes)}"
        self.nodes[key] = (label, "operator")
        self.edges += [(source, key), (key, target)]


@dataclass(frozen=True)
class Table:
    """Rows of text under a header, such as the stages of a chain."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Diagram = Sequence[Graph | Table]
