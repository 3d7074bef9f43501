"""NAS-Bench-201: the benchmark's notation, NNI's labels, and what the paper counts."""

from __future__ import annotations

import json
from random import Random

import pytest
import torch

from tests.shared_material import shared
from zoo import NasBench201, errors

TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
ARCHITECTURE = {
    "0->1": "nor_conv_3x3",
    "0->2": "none",
    "1->2": "skip_connect",
    "0->3": "avg_pool_3x3",
    "1->3": "nor_conv_1x1",
    "2->3": "none",
}


def test_size() -> None:
    """15,625 cells, as the title of the paper's table says."""
    assert NasBench201().size() == 5**6 == 15_625


def test_notation() -> None:
    """The benchmark's string and our choices say the same, node by node."""
    space = NasBench201()
    assert space.decode(TEXT) == ARCHITECTURE
    assert space.write_notation(ARCHITECTURE) == TEXT
    assert space.decode(f"  {TEXT}\n") == ARCHITECTURE


@pytest.mark.parametrize(
    "text",
    [
        "|nor_conv_3x3~0|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+|none~0|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~1|",
        "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|",
        "|none~0|garbage|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_7x7~2|",
        "|none~0|none~1|none~0|none~1|none~2|none~0|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|" * 2,
        "|",
    ],
)
def test_notation_that_is_none(text: str) -> None:
    """A string that does not spell each edge once, in order, is refused."""
    with pytest.raises(errors.InvalidArchitecture, match="NasBench201"):
        NasBench201().decode(text)


def test_every_string_of_the_benchmark() -> None:
    """All 15,625 strings of NATS-Bench are read, are different, and are written back."""
    listed = json.loads(shared("tables/nats_tss_meta_archs_index_to_str.json").read_bytes())
    texts = list(listed.values()) if isinstance(listed, dict) else listed
    space = NasBench201()
    decoded = [space.decode(text) for text in texts]
    assert len({json.dumps(a, sort_keys=True) for a in decoded}) == space.size()
    assert [space.write_notation(a) for a in decoded] == texts


def test_from_nni() -> None:
    """NNI's labels, with and without the name of the cell; its names lack `nor_`."""
    labels = {
        "cell/0_1": "conv_3x3",
        "cell/0_2": "none",
        "cell/1_2": "skip_connect",
        "cell/0_3": "avg_pool_3x3",
        "cell/1_3": "conv_1x1",
        "cell/2_3": "none",
    }
    space = NasBench201()
    assert space.from_nni(labels) == ARCHITECTURE
    bare = {label.removeprefix("cell/"): operator for label, operator in labels.items()}
    assert space.from_nni(bare) == ARCHITECTURE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell/0_1": "conv_9x9"}, "illegal choice '0->1'"),
        ({"cell/0_4": "none"}, "undeclared choice '0->4'"),
        ({"depth": 3}, "'depth' is not an NNI label"),
        ({7: "none"}, "7 is not an NNI label"),
        ({"cell/0_1": ["none"]}, "illegal choice '0->1'"),
    ],
)
def test_from_nni_refuses(change: dict, message: str) -> None:
    """Unknown labels and operators are named."""
    labels = {f"cell/{i}_{j}": "none" for i in range(3) for j in range(i + 1, 4)}
    with pytest.raises(errors.InvalidArchitecture, match=message):
        NasBench201().from_nni({**labels, **change})


def test_from_nni_lacks_an_edge() -> None:
    """A missing edge is named by our name."""
    with pytest.raises(errors.InvalidArchitecture, match="missing choice '2->3'"):
        NasBench201().from_nni({"0_1": "none", "0_2": "none", "1_2": "none", "0_3": "none",
                                "1_3": "none"})  # fmt: skip


def test_layout() -> None:
    """Three stacks of five cells, a halving block before the last two: 17 places, 16 channels."""
    network = NasBench201().build(ARCHITECTURE)
    assert [len(stage) for stage in network.stages] == [5, 6, 6]
    assert [info["num_chs"] for info in network.feature_info] == [16, 32, 64]
    assert [info["reduction"] for info in network.feature_info] == [1, 2, 4]
    assert network.num_classes == 10


def test_a_cell_that_nothing_reaches_is_zero() -> None:
    """A cell of `none` only, and operators behind a node that nothing reaches."""
    space = NasBench201(cells_per_stack=1, channels=8)
    for dead in (
        dict.fromkeys(ARCHITECTURE, "none"),
        {**dict.fromkeys(ARCHITECTURE, "none"), "2->3": "skip_connect"},
        {**dict.fromkeys(ARCHITECTURE, "none"), "1->3": "avg_pool_3x3"},
    ):
        network = space.build(dead).eval()
        cell = network.stages[0][0]
        assert torch.equal(cell(torch.randn(2, 8, 8, 8)), torch.zeros(2, 8, 8, 8))


def test_a_convolution_of_nothing_still_adds_its_bias() -> None:
    """BatchNorm behind a node that is zero gives its shift, as in the authors' code."""
    dead = {**dict.fromkeys(ARCHITECTURE, "none"), "1->3": "nor_conv_1x1"}
    cell = NasBench201(cells_per_stack=1, channels=8).build(dead).eval().stages[0][0]
    torch.nn.init.constant_(cell.edges[4].bn.bias, 2.5)
    assert torch.equal(cell(torch.randn(1, 8, 4, 4)), torch.full((1, 8, 4, 4), 2.5))


def test_a_cell_is_the_graph_it_says() -> None:
    """Every cell equals the sum over paths, computed node by node from its operators."""
    space = NasBench201(cells_per_stack=1, channels=8)
    for seed in range(8):
        cell = space.build(space.sample(Random(seed))).eval().stages[0][0]
        x = torch.randn(2, 8, 8, 8)
        nodes = [x]
        for target in (1, 2, 3):
            total = torch.zeros_like(x)
            for (i, j), operator in zip(cell.routes, cell.edges, strict=True):
                if j == target and type(operator).__name__ != "Nothing":
                    total = total + operator(nodes[i])
            nodes.append(total)
        torch.testing.assert_close(cell(x), nodes[3])
