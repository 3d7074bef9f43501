"""Graphs of a cell: upper triangular adjacency matrices, pruning, counting, the graph hash.

Source: NAS-Bench-101, https://arxiv.org/abs/1902.09635; code google-research/nasbench
at b942470, `nasbench/lib/model_spec.py` and `graph_util.py`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from random import Random

INPUT = "input"
OUTPUT = "output"

Matrix = Sequence[Sequence[int]]


def prune(matrix: Matrix) -> list[int]:
    """Return the vertices on a path from the first to the last, in order; empty if none is."""
    last = len(matrix) - 1
    after, before = {0}, {last}
    for vertex in range(1, last + 1):
        if any(matrix[source][vertex] for source in after):
            after.add(vertex)
    for vertex in range(last - 1, -1, -1):
        if any(matrix[vertex][target] for target in before):
            before.add(vertex)
    return sorted(after & before) if last in after else []


def graph_hash(matrix: Matrix, labels: Sequence[int]) -> str:
    """Return an MD5 hash that isomorphic labelled graphs share.

    Every vertex starts as the hash of its degrees and label, and is hashed again and
    again with the sorted hashes of the vertices before and after it. Bytes are the
    benchmark's: its table is keyed by them.
    """
    vertices = range(len(matrix))
    hashes = [
        _md5(str((sum(matrix[v]), sum(row[v] for row in matrix), labels[v]))) for v in vertices
    ]
    for _ in vertices:
        hashes = [
            _md5(
                "".join(sorted(hashes[w] for w in vertices if matrix[w][v]))
                + "|"
                + "".join(sorted(hashes[w] for w in vertices if matrix[v][w]))
                + "|"
                + hashes[v]
            )
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


@functools.lru_cache(maxsize=64)
def count_matrices(vertices: int, max_edges: int) -> int:
    """Return how many matrices connect first and last vertex by at most `max_edges` edges.

    Edges are counted after pruning. Every one of the 2 ** (V (V − 1) / 2) matrices is
    looked at: 2 million for seven vertices, a fraction of a second.
    """
    import numpy as np

    bits = np.arange(2 ** (vertices * (vertices - 1) // 2), dtype=np.int32)
    pairs = [(s, t) for t in range(vertices) for s in range(t)]
    edge = {pair: (bits >> index & 1).astype(bool) for index, pair in enumerate(pairs)}
    always = np.ones(len(bits), dtype=bool)
    after, before = {0: always}, {vertices - 1: always}
    for v in range(1, vertices):
        after[v] = np.logical_or.reduce([after[s] & edge[s, v] for s in range(v)])
    for v in range(vertices - 2, -1, -1):
        before[v] = np.logical_or.reduce([before[t] & edge[v, t] for t in range(v + 1, vertices)])
    # An edge lies on a path when its source is reached and its target reaches the output.
    edges = sum((after[s] & edge[s, t] & before[t]).astype(np.int8) for s, t in pairs)
    return int(np.count_nonzero(after[vertices - 1] & (edges <= max_edges)))


def draw_matrix(vertices: int, max_edges: int, rng: Random) -> list[list[int]]:
    """Return a matrix that `count_matrices` counts, each with the same probability."""
    while True:
        matrix = [
            [int(target > source and rng.random() < 0.5) for target in range(vertices)]
            for source in range(vertices)
        ]
        kept = prune(matrix)
        if kept and sum(matrix[s][t] for s in kept for t in kept) <= max_edges:
            return matrix


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
