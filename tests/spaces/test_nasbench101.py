"""NAS-Bench-101: what is a cell, the channel rule, the benchmark's hash, and what is counted."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from random import Random
from typing import Any

import pytest
import torch

from zoo import NasBench101, errors, load_searched_model
from zoo.networks.nasbench101 import Cell, vertex_channels
from zoo.spaces.cell_graph import count_matrices, draw_matrix, graph_hash, prune
from zoo.spaces.nasbench101 import OPERATIONS

C3, C1, MP = OPERATIONS


def matrix_of(vertices: int, *edges: tuple[int, int]) -> list[list[int]]:
    """Return the adjacency matrix with these edges."""
    return [[int((s, t) in edges) for t in range(vertices)] for s in range(vertices)]


def cell_of(matrix: list[list[int]], *interior: str) -> dict[str, Any]:
    """Return the architecture with these operations between input and output."""
    return {"cell": {"matrix": matrix, "operations": ["input", *interior, "output"]}}


# The first row of the benchmark's table: hash and parameters are published with it.
FIRST = cell_of(
    matrix_of(7, (0, 1), (0, 4), (0, 5), (1, 2), (2, 3), (2, 6), (3, 5), (4, 5), (5, 6)),
    C3, MP, C3, C3, C1,
)  # fmt: skip
FIRST_HASH = "00005c142e6f48ac74fdcf73e3439874"
# The Inception-like cell of the benchmark's example.py.
INCEPTION = cell_of(
    matrix_of(7, (0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)),
    C1, C3, C3, C3, MP,
)  # fmt: skip


def relabelled(architecture: dict[str, Any], order: tuple[int, ...]) -> dict[str, Any]:
    """Return the cell with its vertices in another order."""
    cell = architecture["cell"]
    return {
        "cell": {
            "matrix": [[cell["matrix"][s][t] for t in order] for s in order],
            "operations": [cell["operations"][v] for v in order],
        }
    }


# --- the graph hash ----------------------------------------------------------------------------


def test_hash_is_the_benchmarks() -> None:
    """A hash and a number of parameters that are published."""
    space = NasBench101()
    assert space.graph_hash(FIRST) == FIRST_HASH
    assert sum(p.numel() for p in space.build(FIRST).parameters()) == 8_555_530
    assert sum(p.numel() for p in space.build(INCEPTION).parameters()) == 2_694_282


def test_isomorphic_cells_hash_alike() -> None:
    """Every order of the vertices that keeps the matrix triangular gives the same hash."""
    space, seen = NasBench101(), 0
    for middle in itertools.permutations(range(1, 6)):
        other = relabelled(FIRST, (0, *middle, 6))
        matrix = other["cell"]["matrix"]
        if any(matrix[s][t] for s in range(7) for t in range(s + 1)):
            continue
        seen += 1
        assert space.graph_hash(other) == FIRST_HASH
        same = other == FIRST
        # Their weights have other names, so a file of one must not pass for one of the other.
        assert (space.architecture_hash(other) == space.architecture_hash(FIRST)) is same
    assert seen > 2


def test_hash_tells_others_apart() -> None:
    """The benchmark's own hard cases: order, direction, and neighbours two steps away."""
    space = NasBench101()
    chain = matrix_of(5, (0, 1), (1, 2), (2, 3), (3, 4))
    loop = matrix_of(4, (0, 1), (0, 3), (1, 2), (2, 3))
    wide = matrix_of(7, (0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 6), (3, 5), (4, 5), (5, 6))
    for matrix, one, other in (
        (chain, (C1, C3, C3), (C3, C3, C1)),
        (loop, (C1, C3), (C3, C1)),
        (wide, (C1, C3, C3, C3, C3), (C3, C3, C3, C1, C3)),
    ):
        assert space.graph_hash(cell_of(matrix, *one)) != space.graph_hash(cell_of(matrix, *other))


def test_number_of_cells_up_to_isomorphism() -> None:
    """1, 6, 84, 2,441 unique cells of 2 to 5 vertices, as in the benchmark's table."""
    found = []
    for vertices in range(2, 6):
        pairs = list(itertools.combinations(range(vertices), 2))
        hashes = set()
        for bits in range(2 ** len(pairs)):
            edges = [pair for index, pair in enumerate(pairs) if bits >> index & 1]
            matrix = matrix_of(vertices, *edges)
            if len(edges) > 9 or len(prune(matrix)) < vertices:
                continue
            for labels in itertools.product(range(3), repeat=vertices - 2):
                hashes.add(graph_hash(matrix, [-1, *labels, -2]))
        found.append(len(hashes))
    assert found == [1, 6, 84, 2441]


# --- pruning and legality ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "kept"),
    [
        (matrix_of(3, (0, 1), (1, 2)), [0, 1, 2]),
        (matrix_of(4, (0, 1), (1, 3)), [0, 1, 3]),
        (matrix_of(5, (0, 1), (1, 4), (2, 3)), [0, 1, 4]),
        (matrix_of(4, (0, 1), (0, 2), (2, 3)), [0, 2, 3]),
        (matrix_of(4, (0, 2), (1, 3), (2, 3)), [0, 2, 3]),
        (matrix_of(3, (0, 2), (1, 2)), [0, 2]),
        (matrix_of(2), []),
        (matrix_of(4, (0, 1), (2, 3)), []),
        (matrix_of(4, (1, 2)), []),
    ],
)
def test_prune(matrix: list[list[int]], kept: list[int]) -> None:
    """Islands, dead ends and vertices without input vanish; without a path all do."""
    assert prune(matrix) == kept


def test_dangling_vertices_change_nothing() -> None:
    """Hashes, keys and logits are those of the pruned cell."""
    space = NasBench101(channels=16, cells_per_stack=1)
    pruned = cell_of(matrix_of(4, (0, 1), (1, 2), (0, 3), (2, 3)), C3, MP)
    dangling = cell_of(matrix_of(6, (0, 1), (1, 2), (0, 5), (2, 5), (0, 3), (4, 5)), C3, MP, C1, C1)
    assert space.prune(dangling) == pruned == space.prune(pruned)
    assert space.graph_hash(dangling) == space.graph_hash(pruned)
    assert space.architecture_hash(dangling) == space.architecture_hash(pruned)
    one, other = space.build(pruned).eval(), space.build(dangling).eval()
    other.load_state_dict(one.state_dict())
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(one(images), other(images))
    assert other.architecture == dangling


FULL = [[int(s < t) for t in range(7)] for s in range(7)]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"matrix": FULL}, "dictionary of 'matrix' and 'operations'"),
        ({"matrix": [[0]], "operations": ["input"]}, "a list of 2 … 7 rows"),
        ({"matrix": [[0, 1], [0]], "operations": []}, "row 1 of the matrix must be a list of 2"),
        ({"matrix": [[0, 2], [0, 0]], "operations": []}, "row 0 .* may hold 0 and 1 only"),
        ({"matrix": [[0, True], [0, 0]], "operations": []}, "may hold 0 and 1 only"),
        ({"matrix": [[0, 1], [1, 0]], "operations": []}, "upper triangular, row 1"),
        ({"matrix": [[1, 1], [0, 0]], "operations": []}, "upper triangular, row 0"),
        ({"matrix": [[0, 0], [0, 0]], "operations": []}, "input is not connected to the output"),
        ({"matrix": FULL, "operations": []}, "21 edges lie between input and output, at most 9"),
        ({"matrix": [[0, 1], [0, 0]], "operations": ["input"]}, "2 vertices need a list"),
        ({"matrix": [[0, 1], [0, 0]], "operations": ["in", "output"]}, "must start with 'input'"),
        (cell_of(matrix_of(3, (0, 1), (1, 2)), "conv5x5")["cell"], "vertex 1: 'conv5x5' is not"),
    ],
)
def test_check_says_what_is_wrong(cell: Any, message: str) -> None:
    """Each reason names row, vertex or limit."""
    with pytest.raises(errors.InvalidArchitecture, match=message):
        NasBench101().check({"cell": cell})


def test_the_limit_on_edges_is_one_on_the_pruned_graph() -> None:
    """Ten edges, two of them on a dead end, are legal, as in the benchmark."""
    edges = [(0, 1), (0, 2), (0, 3), (0, 6), (1, 6), (2, 6), (3, 6), (1, 2), (0, 5), (1, 5)]
    NasBench101().check(cell_of(matrix_of(7, *edges), *[C3] * 5))


# --- the channel rule --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "into", "out", "expected"),
    [
        (matrix_of(2, (0, 1)), 128, 256, [128, 256]),
        (matrix_of(3, (0, 1), (1, 2)), 128, 128, [128, 128, 128]),
        # Three vertices share 128: 43, 43, 42.
        (
            matrix_of(5, (0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)),
            8, 128, [8, 43, 43, 42, 128],
        ),
        # The edge from the input to the output is no share.
        (matrix_of(4, (0, 1), (0, 2), (0, 3), (1, 3), (2, 3)), 4, 7, [4, 4, 3, 7]),
        # A vertex that does not reach the output is as wide as the widest that it flows into.
        (
            matrix_of(6, (0, 1), (1, 2), (1, 4), (2, 5), (0, 3), (3, 5), (4, 5)),
            16, 128, [16, 43, 43, 43, 42, 128],
        ),
        (
            matrix_of(6, (0, 1), (1, 2), (2, 3), (2, 4), (3, 5), (4, 5)),
            16, 9, [16, 5, 5, 5, 4, 9],
        ),
    ],
)  # fmt: skip
def test_vertex_channels(matrix: list[list[int]], into: int, out: int, expected: list[int]) -> None:
    """The output's width is divided, the remainder goes to the first vertices."""
    assert vertex_channels(matrix, into, out) == expected


def test_cell_joins_and_adds_as_the_paper_says() -> None:
    """Surplus channels are cut, inputs projected, the output is a concatenation plus the input."""
    from zoo.layers.conv import BatchNormSettings

    matrix = matrix_of(5, (0, 1), (0, 4), (1, 2), (1, 3), (2, 4), (3, 4))
    operations = ["input", "conv3x3-bn-relu", "maxpool3x3", "maxpool3x3", "output"]
    cell = Cell(matrix, operations, 6, 9, norm=BatchNormSettings()).eval()
    assert cell.widths == [6, 5, 5, 4, 9]
    assert sorted(cell.projections) == ["1", "4"]
    x = torch.randn(2, 6, 8, 8)
    pool = torch.nn.MaxPool2d(3, 1, 1)
    first = cell.operations["1"](cell.projections["1"](x))
    expected = torch.cat([pool(first), pool(first[:, :4])], 1) + cell.projections["4"](x)
    torch.testing.assert_close(cell(x), expected)


def test_a_cell_without_interior_is_the_projection() -> None:
    """Input straight to output: one 1×1 convolution."""
    network = NasBench101(channels=8).build(cell_of(matrix_of(2, (0, 1))))
    assert {key for key in network.state_dict() if key.startswith("stages.1.1.")} == {
        f"stages.1.1.projections.1.{leaf}"
        for leaf in (
            "conv.weight",
            *(f"bn.{n}" for n in ("weight", "bias", "running_mean", "running_var")),
            "bn.num_batches_tracked",
        )
    }
    assert network.eval()(torch.randn(1, 3, 8, 8)).shape == (1, 10)


# --- counting, sampling, neighbours ------------------------------------------------------------


def test_size() -> None:
    """Matrices that connect input and output by at most nine edges, times operations."""
    by_hand = [1, 5, 47]
    assert [count_matrices(vertices, 9) for vertices in (2, 3, 4)] == by_hand
    assert NasBench101(max_vertices=4).size() == 1 + 5 * 3 + 47 * 9
    brute = sum(
        bool(kept := prune(matrix)) and sum(matrix[s][t] for s in kept for t in kept) <= 4
        for matrix in all_matrices(5)
    )
    assert count_matrices(5, 4) == brute
    assert NasBench101().size() == 375_975_790


def all_matrices(vertices: int) -> list[list[list[int]]]:
    """Return every upper triangular matrix."""
    pairs = list(itertools.combinations(range(vertices), 2))
    return [
        matrix_of(vertices, *(p for p, bit in zip(pairs, bits, strict=True) if bit))
        for bits in itertools.product((0, 1), repeat=len(pairs))
    ]


def test_sample_is_uniform_over_what_size_counts() -> None:
    """Of 16 cells of up to three vertices each turns up as often as the others."""
    space, rng = NasBench101(max_vertices=3), Random(0)
    assert space.size() == 16
    counts = Counter(space.encode(space.sample(rng)) for _ in range(16 * 400))
    assert len(counts) == 16
    assert all(abs(count - 400) < 5 * 20 for count in counts.values())
    drawn = Counter(str(draw_matrix(4, 3, rng)) for _ in range(4000))
    assert len(drawn) == count_matrices(4, 3)


def test_samples_are_legal() -> None:
    """A thousand of them."""
    space, rng = NasBench101(), Random(1)
    for _ in range(1000):
        space.check(space.sample(rng))


def decisions_apart(one: dict[str, Any], other: dict[str, Any]) -> int:
    """Return how many edges and operations differ; a vertex more or less counts one."""
    (a, b) = (cell["cell"] for cell in (one, other))
    if len(a["matrix"]) > len(b["matrix"]):
        a, b = b, a
    if len(a["matrix"]) < len(b["matrix"]):
        last = len(b["matrix"]) - 2
        assert not any(b["matrix"][last]) and not any(row[last] for row in b["matrix"])
        b = {
            "matrix": [
                [e for t, e in enumerate(row) if t != last]
                for s, row in enumerate(b["matrix"])
                if s != last
            ],
            "operations": [o for v, o in enumerate(b["operations"]) if v != last],
        }
        assert a == b
        return 1
    edges = sum(
        x != y
        for p, q in zip(a["matrix"], b["matrix"], strict=True)
        for x, y in zip(p, q, strict=True)
    )
    return edges + sum(x != y for x, y in zip(a["operations"], b["operations"], strict=True))


def test_neighbours_and_mutants_are_one_decision_away() -> None:
    """One edge, one operation, or one unconnected vertex; all legal, none missing."""
    space, rng = NasBench101(), Random(2)
    for _ in range(30):
        parent = space.sample(rng)
        before = copy.deepcopy(parent)
        neighbours = list(space.neighbours(parent))
        for neighbour in neighbours:
            space.check(neighbour)
            assert decisions_apart(parent, neighbour) == 1
        assert space.mutate(parent, rng) in neighbours
        assert parent == before
        vertices = len(parent["cell"]["matrix"])
        labels = sum(len(set(OPERATIONS)) - 1 for _ in range(vertices - 2))
        assert len(neighbours) >= labels
    every = {space.encode(n) for n in space.neighbours(FIRST)}
    toggles = [
        relabelled_edge
        for s, t in itertools.combinations(range(7), 2)
        if (relabelled_edge := toggled(FIRST, s, t)) is not None
    ]
    assert every >= {space.encode(cell) for cell in toggles}
    assert len(every) == len(toggles) + 5 * 2


def toggled(architecture: dict[str, Any], source: int, target: int) -> dict[str, Any] | None:
    """Return the cell with one edge toggled, or None where that is illegal."""
    other = copy.deepcopy(architecture)
    other["cell"]["matrix"][source][target] ^= 1
    try:
        NasBench101().check(other)
    except errors.InvalidArchitecture:
        return None
    return other


# --- notations, networks -----------------------------------------------------------------------


def test_notation() -> None:
    """The benchmark's `matrix=…, ops=…`, as code and as JSON."""
    space = NasBench101()
    text = space.write_notation(FIRST)
    assert text.startswith("matrix=[[0, 1, 0, 0, 1, 1, 0], ") and ', ops=["input"' in text
    assert space.decode(text) == FIRST
    assert space.decode(f"ModelSpec({text})".replace('"', "'")) == FIRST
    cell = FIRST["cell"]
    assert space.decode(f'{{"matrix": {cell["matrix"]}, "ops": {cell["operations"]}}}') == FIRST
    with pytest.raises(errors.InvalidArchitecture, match="NasBench101: cannot decode"):
        space.decode("matrix=[[0, x], [0]], ops=[]")


LABELS = {
    "cell/num_nodes": 7,
    "cell/op1": C3, "cell/op2": MP, "cell/op3": C3, "cell/op4": C3, "cell/op5": C1,
    "cell/input1": [0], "cell/input2": [1], "cell/input3": [2], "cell/input4": [0],
    "cell/input5": [0, 3, 4], "cell/input6": [2, 5],
}  # fmt: skip


def test_from_nni() -> None:
    """NNI's labels, with its prefix and number of nodes, or as its table has them."""
    space = NasBench101()
    assert space.from_nni(LABELS) == FIRST
    bare = {k.removeprefix("cell/"): v for k, v in LABELS.items() if "num" not in k}
    assert space.from_nni(bare) == FIRST
    for change, message in (
        ({"cell/input3": [3]}, "input3 names vertex 3, expected one of 0 … 2"),
        ({"cell/op6": C3}, "does not declare: op6"),
        ({"cell/op1": "conv"}, "vertex 1: 'conv' is not one of"),
        ({"cell/num_nodes": 8}, "lacks 'input7'"),
        ({"cell/num_nodes": "7"}, "label 'num_nodes' cannot be '7'"),
        ({"cell/input3": 2}, "label 'input3' cannot be 2"),
    ):
        with pytest.raises(errors.InvalidArchitecture, match=message):
            space.from_nni({**LABELS, **change})


def test_random_architectures() -> None:
    """Twenty of them build, run forward and backward."""
    space, rng = NasBench101(channels=16, cells_per_stack=1), Random(3)
    for _ in range(20):
        network = space.build(space.sample(rng)).train()
        logits = network(torch.randn(2, 3, 16, 16))
        logits.square().sum().backward()
        assert logits.shape == (2, 10)
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_published_cells() -> None:
    """The manifest's cells load by name; hash and count are in their records."""
    from zoo import model_info

    network = load_searched_model("nb101-00005c14", pretrained=False)
    assert NasBench101().graph_hash(network.architecture) == FIRST_HASH
    assert model_info("nb101-00005c14").parameters == 8_555_530
    assert model_info("nb101-inception-like").parameters == 2_694_282
    with pytest.raises(errors.NoPretrainedWeights, match="its weights were never published"):
        load_searched_model("nb101-00005c14", offline=True)


def test_hash_is_stable() -> None:
    """Native files carry it: a change would break every file written before."""
    expected = "82c4eb0f2d791b7ee9acd0763f7bd76d2729c33bc08179cffde9198345504140"
    assert NasBench101().architecture_hash(FIRST) == expected
