"""What the cell spaces add to the laws of all spaces: notations, NNI's labels, skeletons."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from tests.shared_material import read_catalog
from zoo.errors import InvalidArchitecture, InvalidArgument
from zoo.registry import find_space
from zoo.spaces.darts import DARTS
from zoo.spaces.enas import ENAS
from zoo.spaces.enas_macro import ENASMacro
from zoo.spaces.nasnet import NASNet
from zoo.spaces.nds import CellSpace

CELL_SPACES = ("AmoebaNet", "DARTS", "ENAS", "NASNet", "PNAS")
SKELETONS = {
    "cifar": {},
    "imagenet": {"dataset": "imagenet"},
    "nasnet": {"dataset": "imagenet", "skeleton": "nasnet"},
    "nasnet-large": {"dataset": "imagenet", "skeleton": "nasnet", "skip_reduction_input": True},
    "pnasnet": {"dataset": "imagenet", "skeleton": "pnasnet"},
}
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)

each_cell_space = pytest.mark.parametrize("name", CELL_SPACES)


def cell_space(name: str, **settings: Any) -> CellSpace:
    """Return a space of thin, shallow networks."""
    space = find_space(name).from_settings({"width": 4, "num_cells": 3, **settings})
    assert isinstance(space, CellSpace)
    return space


def genotype_of(architecture: dict[str, Any]) -> str:
    """Return a catalogue genotype as the field spells it."""
    fields = {
        key: [tuple(entry) if isinstance(entry, list) else entry for entry in value]
        for key, value in architecture["genotype"].items()
    }
    return f"Genotype({', '.join(f'{key}={value}' for key, value in fields.items())})"


@each_cell_space
@pytest.mark.parametrize("skeleton", SKELETONS)
def test_random_architectures_learn(name: str, skeleton: str) -> None:
    """Four architectures in each of five skeletons: any size, finite gradients, true facts."""
    rng = Random(f"{name} {skeleton}")
    for number in range(4):
        # An operator outside the default, an input in the concatenation, dropped edges.
        settings = {"merge": "chosen", "drop_path": 0.3, "pool_norm": True} if number % 2 else {}
        space = cell_space(name, **SKELETONS[skeleton], **settings)
        network = space.build(space.sample(rng))
        sizes = [(8, 8), (9, 13)] if skeleton == "cifar" else [(32, 32), (33, 39), (46, 35)]
        images = torch.randn(2, 3, *rng.choice(sizes))
        network(images).square().sum().backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)
        with torch.no_grad():
            maps = network.eval().features_only()(images)
        for features, info in zip(maps, network.feature_info, strict=True):
            assert features.shape[1] == info["num_chs"]
            for got, size in zip(features.shape[2:], images.shape[2:], strict=True):
                assert abs(got - size / info["reduction"]) <= 1


@each_cell_space
def test_reductions_are_those_of_the_skeleton(name: str) -> None:
    """CIFAR keeps the resolution in the stem, ImageNet skeletons go down to 1/32."""
    space = cell_space(name)
    architecture = space.sample(Random(0))
    reductions = {
        skeleton: [
            info["reduction"]
            for info in cell_space(name, **settings).build(architecture).feature_info
        ]
        for skeleton, settings in SKELETONS.items()
    }
    assert reductions == {
        "cifar": [1, 2, 4],
        "imagenet": [4, 8, 16, 32],
        "nasnet": [2, 4, 8, 16, 32],
        "nasnet-large": [2, 4, 8, 16, 32],
        "pnasnet": [2, 4, 8, 16, 32],
    }


@pytest.mark.parametrize("num_cells", [3, 4, 5, 14, 20])
def test_cells_in_each_stage(num_cells: int) -> None:
    """Reducing cells are number N // 3 and 2 N // 3, as in DARTS; skeleton nasnet adds them."""
    space = DARTS(width=4, num_cells=num_cells)
    architecture = space.sample(Random(0))
    network = space.build(architecture)
    lengths = [len(stage) for stage in network.stages]  # pyright: ignore[reportArgumentType]
    assert lengths[0] == num_cells // 3
    assert lengths[0] + lengths[1] == 2 * num_cells // 3
    assert sum(lengths) == num_cells
    original = DARTS(width=4, num_cells=num_cells, dataset="imagenet", skeleton="nasnet")
    stages = original.build(architecture).stages
    assert sum(len(stage) for stage in stages) == num_cells + 4  # pyright: ignore


def test_size_counts_ordered_edges() -> None:
    """Seven operators on eight edges, two ordered inputs for each node, two cells."""
    assert DARTS().size() == (7**8 * (2 * 3 * 4 * 5) ** 2) ** 2
    assert NASNet().size() == (13**10 * (2 * 3 * 4 * 5 * 6) ** 2) ** 2
    assert ENASMacro(layers=4).size() == 6**4 * 2**6
    wider = DARTS(width=(16, 24, 32), num_cells=(4, 8, 12, 16, 20))
    assert wider.size() == 15 * DARTS().size()


# --- genotypes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        DARTS_V2,
        DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)"),
        DARTS_V2.replace("(", "[", 1).replace("Genotype[", "Genotype(").replace("), (", "), ("),
        "\n" + DARTS_V2.replace(", ", ",\n   "),
    ],
)
def test_genotype_spellings(text: str) -> None:
    """Lists, ranges and line breaks spell the same architecture."""
    space = DARTS()
    assert space.write_notation(space.decode(text)) == DARTS_V2


@each_cell_space
def test_genotypes_round_trip_with_any_concatenation(name: str) -> None:
    """A genotype carries what is concatenated, in spaces where that is chosen."""
    space = cell_space(name, merge="chosen")
    for seed in range(20):
        architecture = space.sample(Random(seed))
        assert space.decode(space.write_notation(architecture)) == architecture


@pytest.mark.parametrize(
    "text",
    [
        "Genotype()",
        "Genotype(normal=1, normal_concat=2, reduce=3, reduce_concat=4)",
        DARTS_V2[:-1],
        DARTS_V2.replace("[2, 3, 4, 5]", "range(10**9)"),
        DARTS_V2.replace("[2, 3, 4, 5]", "[2, 3, 4, '5']"),
        DARTS_V2.replace("('skip_connect', 0)", "('skip_connect', 0, 1)"),
        DARTS_V2.replace("('skip_connect', 0)", "print('executed')"),
        DARTS_V2.replace("normal_concat", "normal_conca"),
    ],
)
def test_damaged_genotypes(text: str) -> None:
    """A genotype that is none is refused with how one is spelled; nothing in it runs."""
    with pytest.raises(InvalidArchitecture, match=r"DARTS: cannot read .*expected Genotype"):
        DARTS().decode(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'dil_conv_3x3', 2", "'dil_conv_7x7', 2", "illegal choice 'normal/op_5_1'"),
        ("'dil_conv_3x3', 2", "'dil_conv_3x3', 5", "illegal choice 'normal/input_5_1': 5"),
        (", ('dil_conv_3x3', 2)]", "]", "missing choice 'normal/op_5_1'"),
        (
            "normal_concat=[2, 3, 4, 5]",
            "normal_concat=[4, 5]",
            r"normal_concat is \[4, 5\], but merge='all' gives \[2, 3, 4, 5\]",
        ),
    ],
)
def test_genotypes_of_another_space(old: str, new: str, message: str) -> None:
    """What the space does not have is named by its choice."""
    with pytest.raises(InvalidArchitecture, match=message):
        DARTS().decode(DARTS_V2.replace(old, new))


def test_loose_ends() -> None:
    """A node that another one reads is not concatenated."""
    space = NASNet(nodes=2, operators=("skip_connect",))
    architecture = {choice: "skip_connect" for choice in space.choices() if "/op_" in choice}
    inputs = {choice: 0 for choice in space.choices() if "/input_" in choice}
    apart = {**architecture, **inputs}
    chained = {**apart, "normal/input_3_1": 2}
    assert "normal_concat=[2, 3], " in space.write_notation(apart)
    assert "normal_concat=[3], " in space.write_notation(chained)
    assert "reduce_concat=[2, 3]" in space.write_notation(chained)


def test_a_genotype_has_no_width() -> None:
    """Where width or depth are choices, a genotype would lose them."""
    space = DARTS(width=(16, 36))
    with pytest.raises(InvalidArgument, match="no place for width and depth"):
        space.write_notation(space.sample(Random(0)))


# --- NNI and the authors of ENAS ---------------------------------------------------------------


def test_catalogued_architectures_agree_in_both_notations() -> None:
    """NNI's labels and the genotype give one architecture, for every catalogued model."""
    seen = 0
    for record in read_catalog().values():
        facts = record["architecture"] or {}
        if record["space"] not in CELL_SPACES or not {"genotype", "nni_sample"} <= facts.keys():
            continue
        space = find_space(record["space"])()
        if record["name"] == "setn":
            space = DARTS(operators=(*DARTS().operators, "conv_3x1_1x3"))
        assert isinstance(space, CellSpace)
        assert space.from_nni(facts["nni_sample"]) == space.decode(genotype_of(facts))
        seen += 1
    assert seen > 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal/input_2_0": [0, 1]}, r"illegal choice 'normal/input_2_0': \[0, 1\]"),
        ({"normal/input_3_0": [3]}, "illegal choice 'normal/input_3_0': 3"),
        ({"normal/op_2_0": "none"}, "illegal choice 'normal/op_2_0': 'none'"),
        ({"normal/op_6_0": "skip_connect"}, "undeclared choice 'normal/op_6_0'"),
    ],
)
def test_from_nni_refuses(change: dict[str, Any], message: str) -> None:
    """Wrong labels are named."""
    space = DARTS()
    labels = {
        name: [value] if "/input_" in name else value
        for name, value in space.decode(DARTS_V2).items()
    }
    assert space.from_nni(labels) == space.decode(DARTS_V2)
    with pytest.raises(InvalidArchitecture, match=message):
        space.from_nni({**labels, **change})


def test_nni_chooses_width_and_depth() -> None:
    """With several widths and depths they are choices, under NNI's labels."""
    space = DARTS(width=(4, 8), num_cells=(3, 6))
    architecture = space.from_nni({**DARTS().decode(DARTS_V2), "width": 8, "depth": 3})
    network = space.build(architecture)
    assert network.feature_info[-1]["num_chs"] == 8 * 4 * 4
    assert sum(len(stage) for stage in network.stages) == 3  # pyright: ignore


def test_enas_reads_its_authors_numbers() -> None:
    """`fixed_arc` lists input and operator of every edge."""
    text = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1  1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
    space = ENAS()
    architecture = space.decode(text)
    assert architecture["normal/op_2_0"] == "avg_pool_3x3"
    assert (architecture["reduce/op_4_1"], architecture["reduce/input_4_1"]) == ("sep_conv_5x5", 3)
    assert "reduce_concat=[2, 4, 5, 6]" in space.write_notation(architecture)
    with pytest.raises(InvalidArchitecture, match="ENAS: expected 40 numbers"):
        space.decode(text + " 1")
    with pytest.raises(InvalidArchitecture, match="ENAS: expected 40 numbers"):
        space.decode(text.replace("4", "5"))


def test_macro_layers_join_what_they_say() -> None:
    """A skip adds the earlier layer's channels to the 1×1 convolution behind the operator."""
    space = ENASMacro(layers=3, width=8)
    text = "0\n3 1\n5 0 1"
    architecture = space.decode(text)
    assert architecture == {
        "layer_0/op": "conv_3x3",
        "layer_1/op": "sep_conv_5x5",
        "layer_1/skips": "1",
        "layer_2/op": "max_pool_3x3",
        "layer_2/skips": "01",
    }
    assert space.write_notation(architecture) == text
    shapes = {
        key: tuple(value.shape) for key, value in space.build(architecture).named_parameters()
    }
    assert shapes["stages.1.layers.0.join.conv.weight"] == (16, 2 * 16, 1, 1)
    assert shapes["stages.2.layers.0.join.conv.weight"] == (32, 2 * 32, 1, 1)
    # The stem is read by layer 1 alone, so it is halved once.
    assert {key for key in shapes if "reductions" in key and key.endswith("conv_1.weight")} == {
        "stages.1.reductions.0.conv_1.weight",
        "stages.1.reductions.1.conv_1.weight",
        "stages.2.reductions.1.conv_1.weight",
        "stages.2.reductions.2.conv_1.weight",
    }
    with pytest.raises(InvalidArchitecture, match="3 layers are 6 numbers, got 5"):
        space.decode("0 3 1 5 0")
    with pytest.raises(InvalidArchitecture, match="layer 1: expected an operator below 6"):
        space.decode("0 3 2 5 0 1")


def test_macro_separable_convolutions_may_be_dense() -> None:
    """The authors' training code makes them dense."""
    architecture = ENASMacro(layers=3).decode("1 1 0 1 0 0")
    separable = ENASMacro(layers=3, width=8).build(architecture)
    dense = ENASMacro(layers=3, width=8, separable=False).build(architecture)
    assert "stages.0.layers.0.op.1.depthwise.weight" in separable.state_dict()
    assert dense.state_dict()["stages.0.layers.0.op.1.conv.weight"].shape == (8, 8, 3, 3)


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operators": ("sep_conv_3x4",)}, "no operator 'sep_conv_3x4'. Did you mean 'sep_conv"),
        ({"operators": ("none",)}, "no operator 'none'"),
        ({"skeleton": "nasnet"}, "skeleton='nasnet' needs dataset='imagenet'"),
        ({"width": 1}, "setting width=1"),
        ({"num_cells": 2}, "setting num_cells=2"),
        ({"width": ()}, "setting width"),
        ({"bn_eps": "none"}, "setting bn_eps"),
    ],
)
def test_settings_refused(settings: dict[str, Any], message: str) -> None:
    """Settings that no network can have are refused by name."""
    with pytest.raises(InvalidArgument, match=message):
        DARTS.from_settings(settings)


@pytest.mark.parametrize(
    ("settings", "eps"),
    [
        ({}, 1e-5),
        ({"dataset": "imagenet", "skeleton": "nasnet"}, 1e-3),
        ({"dataset": "imagenet", "skeleton": "pnasnet"}, 1e-3),
        ({"bn_eps": 1e-4}, 1e-4),
    ],
)
def test_batch_norm_epsilon(settings: dict[str, Any], eps: float) -> None:
    """The original skeletons have TensorFlow's."""
    space = cell_space("DARTS", **settings)
    norms = [
        module
        for module in space.build(space.sample(Random(0))).modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    assert norms and {norm.eps for norm in norms} == {eps}


def test_hash_passes_over_other_operators() -> None:
    """An architecture keeps its hash in a space with more operators; a skeleton changes it."""
    architecture = DARTS().decode(DARTS_V2)
    expected = DARTS().architecture_hash(architecture)
    wider = DARTS(operators=(*DARTS().operators, "conv_1x1"))
    assert wider.architecture_hash(architecture) == expected
    assert DARTS(dataset="imagenet").architecture_hash(architecture) != expected
