"""What the five cell spaces share: the choices of two cells, the settings, the notation."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from zoo.diagram import Diagram, Graph
from zoo.errors import InvalidArchitecture, InvalidArgument, suggest
from zoo.layers.cell_modules import OperatorStyle
from zoo.layers.cell_ops import OPERATORS
from zoo.layers.conv import BatchNormSettings
from zoo.networks.cells import CellNetwork, CellPlan, Edge
from zoo.networks.nasnet import NASNetNetwork
from zoo.networks.nds import NDSNetwork
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf, Subset

CELLS = ("normal", "reduce")

PositiveInt = Annotated[int, Meta(ge=1)]
Width = Annotated[int, Meta(ge=2)]  # halving splits it
NumCells = Annotated[int, Meta(ge=3)]


class CellSpace(SearchSpace, frozen=True, kw_only=True):
    """Base of the cell spaces: a normal and a reducing cell, stacked into a network.

    A node adds up two edges; an edge is an operator on an earlier state. States
    are 0 (output of the cell before the last), 1 (output of the last cell), and
    2 … for the nodes. Choices are named as in NNI, `normal/op_2_0` and
    `normal/input_2_0` for the first edge of the first node. Every edge chooses
    freely, so `size` counts both orders of a node's edges, and equal edges.

    Skeleton "nds" is that of DARTS and NDS (https://arxiv.org/abs/1905.13214), "nasnet"
    the original ImageNet one of NASNet and AmoebaNet, "pnasnet" that of PNASNet.

    Args:
        operators: What an edge may choose.
        nodes: Nodes of a cell.
        merge: A cell returns the concatenation of "all" nodes, of those no other node
            reads ("loose_end"), or of the states that the choices `normal/concat` and
            `reduce/concat` list ("chosen").
        width: Channels of a node in the first stage; several make it a choice, `width`.
        num_cells: Cells in all three stages; several make it a choice, `depth`. Skeleton
            "nasnet" adds its two reducing cells, as its papers count.
        dataset: Stem of skeleton "nds": "imagenet" divides the size by 8, "cifar" keeps it.
        stem_channels: Of the first convolution of skeletons "nasnet" and "pnasnet".
        skip_reduction_input: In skeleton "nasnet", the cell behind a reducing cell reads
            what the reducing cell read as its older input (the large NASNet does).
        pool_norm: BatchNorm behind every pooling, as in DARTS' search network.
        pool_counts_padding: Average pooling of stride 2 counts padding as zeros.
        bn_eps: "auto" for 1e-5 in skeleton "nds" and 1e-3 in the others.
        dropout: Probability before the classifier.
        drop_path: Probability of leaving an edge out of a training sample: the same for all
            cells of skeleton "nds", growing up to this with depth in the others.
    """

    num_classes: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    operators: Annotated[tuple[str, ...], Meta(min_length=1)] = OPERATORS
    nodes: Annotated[int, Meta(ge=1, le=20)] = 4
    merge: Literal["all", "loose_end", "chosen"] = "all"
    width: Width | Annotated[tuple[Width, ...], Meta(min_length=1)] = 36
    num_cells: NumCells | Annotated[tuple[NumCells, ...], Meta(min_length=1)] = 20
    dataset: Literal["cifar", "imagenet"] = "cifar"
    skeleton: Literal["nds", "nasnet", "pnasnet"] = "nds"
    stem_channels: PositiveInt = 32
    skip_reduction_input: bool = False
    pool_norm: bool = False
    pool_counts_padding: bool = False
    bn_eps: Annotated[float, Meta(gt=0)] | Literal["auto"] = "auto"
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.1
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    # An architecture spells its operators: what else there was to choose adds nothing.
    adaptable: ClassVar[frozenset[str]] = SearchSpace.adaptable | {"operators"}

    def __post_init__(self) -> None:
        super().__post_init__()
        for operator in self.operators:
            if operator not in OPERATORS:
                raise InvalidArgument(
                    f"{type(self).__name__}: no operator {operator!r}."
                    f"{suggest(operator, OPERATORS)} Operators: {', '.join(OPERATORS)}."
                )
        if self.skeleton != "nds" and self.dataset == "cifar":
            # Both original skeletons have an ImageNet stem only.
            raise InvalidArgument(
                f"{type(self).__name__}: skeleton={self.skeleton!r} needs dataset='imagenet'"
            )

    def choices(self) -> dict[str, Choice]:
        choices: dict[str, Choice] = {}
        for cell in CELLS:
            for node in range(2, self.nodes + 2):
                for edge in (0, 1):
                    choices[f"{cell}/op_{node}_{edge}"] = OneOf(self.operators)
                    choices[f"{cell}/input_{node}_{edge}"] = OneOf(tuple(range(node)))
            if self.merge == "chosen":
                choices[f"{cell}/concat"] = Subset(tuple(range(self.nodes + 2)), least=1)
        if isinstance(self.width, tuple):
            choices["width"] = OneOf(self.width)
        if isinstance(self.num_cells, tuple):
            choices["depth"] = OneOf(self.num_cells)
        return choices

    def build_network(self, architecture: Architecture) -> CellNetwork:
        original = self.skeleton != "nds"
        eps = self.bn_eps if self.bn_eps != "auto" else 1e-3 if original else 1e-5
        common: dict[str, Any] = {
            "width": architecture.get("width", self.width),
            "num_cells": architecture.get("depth", self.num_cells),
            "style": OperatorStyle(
                norm=BatchNormSettings(eps, self.bn_momentum),
                tensorflow=original,
                pool_norm=self.pool_norm,
                pool_counts_padding=self.pool_counts_padding,
            ),
            "drop_path": self.drop_path,
            "num_classes": self.num_classes,
            "in_chans": self.in_chans,
            "dropout": self.dropout,
        }
        normal, reduce = (self._plan(architecture, cell) for cell in CELLS)
        if not original:
            return NDSNetwork(normal, reduce, imagenet=self.dataset == "imagenet", **common)
        return NASNetNetwork(
            normal,
            reduce,
            stem_channels=self.stem_channels,
            extra_reductions=self.skeleton == "nasnet",
            skip_reduction_input=self.skip_reduction_input,
            **common,
        )

    def write_notation(self, architecture: Architecture) -> str:
        """Return DARTS' `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=[…], …)`.

        Raises:
            InvalidArgument: width or depth are choices here, which a genotype cannot say.
        """
        self.check(architecture)
        if isinstance(self.width, tuple) or isinstance(self.num_cells, tuple):
            raise InvalidArgument(
                f"{type(self).__name__}: a genotype has no place for width and depth; use encode()"
            )
        parts = []
        for cell in CELLS:
            plan = self._plan(architecture, cell)
            edges = [(edge.operator, edge.source) for edge in plan.edges]
            parts.append(f"{cell}={edges}, {cell}_concat={list(plan.concat)}")
        return f"Genotype({', '.join(parts)})"

    def read_notation(self, text: str) -> Architecture | None:
        if not text.strip().startswith("Genotype("):
            return None
        genotype = _parse_genotype(text, type(self).__name__)
        architecture: Architecture = {}
        for cell in CELLS:
            for index, (operator, source) in enumerate(genotype[cell]):
                place = f"{index // 2 + 2}_{index % 2}"
                architecture[f"{cell}/op_{place}"] = operator
                architecture[f"{cell}/input_{place}"] = source
            if self.merge == "chosen":
                architecture[f"{cell}/concat"] = sorted(genotype[f"{cell}_concat"])
        self.check(architecture)
        for cell in CELLS:
            derived = list(self._plan(architecture, cell).concat)
            given = sorted(genotype[f"{cell}_concat"])
            if derived != given:
                raise InvalidArchitecture(
                    f"{type(self).__name__}: {cell}_concat is {given}, but merge={self.merge!r} "
                    f"gives {derived}; with merge='chosen' any states may be listed"
                )
        return architecture

    def diagram(self, architecture: Architecture) -> Diagram:
        """Return both cells as graphs; a cell reads the outputs of the two cells before it."""
        self.check(architecture)
        graphs = []
        for cell in CELLS:
            plan = self._plan(architecture, cell)
            graph = Graph(f"{'normal' if cell == 'normal' else 'reduction'} cell")
            states = ["c(k-2)", "c(k-1)", *(f"node {n}" for n in range(2, self.nodes + 2))]
            for number, label in enumerate(states):
                graph.add_state(str(number), label)
            graph.add_state("output", "concat")
            for index, edge in enumerate(plan.edges):
                graph.add_operator(edge.operator, str(edge.source), str(index // 2 + 2))
            graph.edges += [(str(state), "output") for state in plan.concat]
            graphs.append(graph)
        return graphs

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels, in which an input is a list of one number."""
        converted: Architecture = {}
        for label, value in architecture.items():
            single = "/input_" in label and isinstance(value, (list, tuple)) and len(value) == 1
            converted[label] = value[0] if single else value
        self.check(converted)
        return converted

    def _plan(self, architecture: Architecture, cell: str) -> CellPlan:
        edges = tuple(
            Edge(architecture[f"{cell}/op_{place}"], architecture[f"{cell}/input_{place}"])
            for node in range(2, self.nodes + 2)
            for place in (f"{node}_0", f"{node}_1")
        )
        if self.merge == "chosen":
            return CellPlan(edges, tuple(architecture[f"{cell}/concat"]))
        read = {edge.source for edge in edges} if self.merge == "loose_end" else set()
        return CellPlan(edges, tuple(n for n in range(2, self.nodes + 2) if n not in read))


def read_numbers(text: str) -> list[int] | None:
    """Return the numbers that `text` consists of, as ENAS' authors write architectures, or None."""
    if not re.fullmatch(r"\s*\d{1,3}(\s+\d{1,3})*\s*", text, flags=re.ASCII):
        return None
    return [int(number) for number in text.split()]


def _parse_genotype(text: str, space: str) -> dict[str, list[Any]]:
    """Return the four lists of a genotype; nothing in it is executed.

    Raises:
        InvalidArchitecture: it is not spelled as a genotype.
    """
    names = [name for cell in CELLS for name in (cell, f"{cell}_concat")]
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("no call")
        given = dict(zip(names, call.args, strict=False))
        given |= {keyword.arg or "**": keyword.value for keyword in call.keywords}
        if sorted(given) != sorted(names):
            raise ValueError("other fields")
        genotype = {name: _list_of(node) for name, node in given.items()}
        for cell in CELLS:
            genotype[cell] = [(operator, source) for operator, source in genotype[cell]]
            if not all(type(state) is int for state in genotype[f"{cell}_concat"]):
                raise ValueError("no number")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InvalidArchitecture(
            f"{space}: cannot read {text.strip()[:80]!r} ({error}): expected Genotype(normal="
            "[('sep_conv_3x3', 0), …], normal_concat=[2, 3, 4, 5], reduce=[…], reduce_concat=[…])"
        ) from None
    return genotype


def _list_of(node: ast.expr) -> list[Any]:
    # Genotypes spell a concatenation as a list, or as range(2, 6).
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        first, last = (ast.literal_eval(argument) for argument in node.args)
        if not 0 <= first <= last <= 100:
            raise ValueError("a range that no cell has")
        return list(range(first, last))
    return list(ast.literal_eval(node))
