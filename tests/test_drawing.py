"""Pictures: every space gives a diagram; layouts put boxes apart; SVG and DOT are well-formed."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import zoo
from tests.cli.test_commands import run
from zoo.diagram import Graph, Table
from zoo.drawing import write_dot, write_svg
from zoo.drawing.layout import find_layout
from zoo.registry import SPACES, find_space


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_space_draws_its_architectures(name: str) -> None:
    space = find_space(name)()
    diagram = space.diagram(space.sample(random.Random(3)))
    root = ElementTree.fromstring(write_svg(diagram))
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    for part in diagram:
        assert part.title in texts
        if isinstance(part, Graph):
            assert {label for label, _ in part.nodes.values()} <= texts
    assert len(re.findall("^digraph", write_dot(diagram), flags=re.MULTILINE)) == len(diagram)


def test_a_genotype_is_drawn_edge_by_edge() -> None:
    space = zoo.DARTS()
    architecture = space.sample(random.Random(0))
    normal, reduction = space.diagram(architecture)
    assert isinstance(normal, Graph) and isinstance(reduction, Graph)
    operators = [label for label, kind in normal.nodes.values() if kind == "operator"]
    assert operators == [
        architecture[f"normal/op_{node}_{edge}"] for node in range(2, 6) for edge in (0, 1)
    ]


def test_layout_leaves_no_two_boxes_in_one_place_and_runs_left_to_right() -> None:
    space = zoo.NasBench201()
    (graph,) = space.diagram(
        space.decode(
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|"
            "+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
        )
    )
    assert isinstance(graph, Graph)
    layout = find_layout(graph)
    places = list(layout.places.values())
    assert len(set(places)) == len(places)
    for source, target in graph.edges:
        assert layout.places[source][0] < layout.places[target][0]
    for route in layout.routes:
        layers = [layout.places[node][0] for node in route]
        assert layers == list(range(layers[0], layers[0] + len(layers)))


def test_stage_table_tells_width_and_size() -> None:
    (table,) = zoo.ProxylessNAS().diagram(zoo.ProxylessNAS().sample(random.Random(0)))
    assert isinstance(table, Table)
    assert [row[2:] for row in table.rows] == [
        ("16", "1/2"), ("32", "1/4"), ("40", "1/8"), ("80", "1/16"), ("96", "1/16"),
        ("192", "1/32"), ("320", "1/32"),
    ]  # fmt: skip


def test_text_is_escaped() -> None:
    table = Table("a < b", ("x & y",), (('"<script>"',),))
    root = ElementTree.fromstring(write_svg([table]))
    assert '"<script>"' in {element.text for element in root.iter()}


def test_draw_writes_the_file_that_was_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "darts.svg"
    code, output = run("draw", "darts-v2", "--to", target)
    assert code == 0 and str(target) in output
    assert "sep_conv_3x3" in target.read_text("utf-8")
    code, output = run("draw", "darts-v2", "--to", tmp_path / "darts.png")
    assert code == 2 and ".svg or .dot" in output
