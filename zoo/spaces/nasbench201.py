"""NAS-Bench-201: a four-node cell whose six edges choose among five operators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from zoo.diagram import Diagram, Graph
from zoo.errors import InvalidArchitecture
from zoo.networks.nasbench201 import NasBench201Network
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# The order of the benchmark's notation: by target node, then by source node.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_NNI_OPERATORS = {name.removeprefix("nor_"): name for name in OPERATORS}
_EDGE_PATTERN = re.compile(r"([a-z0-9_]+)~(\d+)")


class NasBench201(SearchSpace, frozen=True, kw_only=True):
    """15,625 cells: `5 ** 6`, isomorphic ones counted apart, as in the benchmark.

    Source: NAS-Bench-201, section 2.1, https://arxiv.org/abs/2001.00326.
    Choices are named after their edge, `"0->1"` to `"2->3"`.

    Args:
        num_classes: 10 or 100 for CIFAR, 120 for ImageNet16-120.
        channels: Width of the first of three stacks (C in the paper).
        cells_per_stack: Cells in each stack (N in the paper).
    """

    num_classes: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    channels: Annotated[int, Meta(ge=1)] = 16
    cells_per_stack: Annotated[int, Meta(ge=1)] = 5
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    def choices(self) -> dict[str, Choice]:
        return {_choice_name(edge): OneOf(OPERATORS) for edge in EDGES}

    def build_network(self, architecture: Architecture) -> NasBench201Network:
        return NasBench201Network(
            {edge: architecture[_choice_name(edge)] for edge in EDGES},
            channels=self.channels,
            cells_per_stack=self.cells_per_stack,
            num_classes=self.num_classes,
            in_chans=self.in_chans,
            dropout=self.dropout,
        )

    def write_notation(self, architecture: Architecture) -> str:
        """Return the benchmark's string, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        self.check(architecture)
        nodes = [
            "".join(f"|{architecture[_choice_name((i, node))]}~{i}" for i in range(node)) + "|"
            for node in (1, 2, 3)
        ]
        return "+".join(nodes)

    def read_notation(self, text: str) -> Architecture | None:
        """Return the architecture of the benchmark's string, which names each edge once, in order.

        Raises:
            InvalidArchitecture: the string starts like one and is none.
        """
        text = text.strip()
        if not text.startswith("|"):
            return None
        architecture: Architecture = {}
        for node, part in enumerate(text.split("+"), start=1):
            for operator, source in _EDGE_PATTERN.findall(part):
                architecture[_choice_name((int(source), node))] = operator
        if self.write_notation(architecture) != text:
            raise InvalidArchitecture(
                f"NasBench201: cannot read {text[:200]!r}; expected a string such as "
                f"{self.write_notation(architecture)!r}"
            )
        return architecture

    def diagram(self, architecture: Architecture) -> Diagram:
        """Return the cell as a graph of four nodes; edges that carry nothing are left out."""
        self.check(architecture)
        graph = Graph("cell")
        for node, label in enumerate(("input", "node 1", "node 2", "output")):
            graph.add_state(str(node), label)
        for source, target in EDGES:
            operator = architecture[_choice_name((source, target))]
            if operator != "none":
                graph.add_operator(operator, str(source), str(target))
        return [graph]

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `cell/0_1` … `cell/2_3`."""
        converted: Architecture = {}
        for label, operator in architecture.items():
            match = re.fullmatch(r"(?:cell/)?(\d)_(\d)", str(label))
            if not match:
                raise InvalidArchitecture(f"NasBench201: {label!r} is not an NNI label of a cell")
            name = _choice_name((int(match[1]), int(match[2])))
            converted[name] = _NNI_OPERATORS.get(str(operator), operator)
        self.check(converted)
        return converted


def _choice_name(edge: tuple[int, int]) -> str:
    return f"{edge[0]}->{edge[1]}"
