"""AutoformerSpace: sizes, layers, notations, input sizes, and what the authors' code counts."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

from tests.shared_material import read_catalog
from tests.spaces.small import small_space
from zoo import AutoformerSpace, errors, model_info
from zoo.layers.relative_attention import RelativeAttention, relative_index
from zoo.manifest import find_entry, read_architecture
from zoo.networks.network import Network
from zoo.spaces.autoformer import EncoderLayers

# AutoFormer-T: microsoft/Cream, AutoFormer/experiments/subnet/AutoFormer-T.yaml.
RATIOS = (3.5, 3.5, 3.0, 3.5, 3.0, 3.0, 4.0, 4.0, 3.5, 4.0, 3.5, 4.0, 3.5)
HEADS = (3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3)
TINY = {
    "embed_dim": 192,
    "layers": [f"h{h}r{r:g}" for h, r in zip(HEADS, RATIOS, strict=True)],
}
PUBLISHED = {  # parameters, as the authors' code counts them
    "autoformer-tiny": 5_867_944,
    "autoformer-small": 22_891_432,
    "autoformer-base": 53_691_688,
    "prenas-tiny": 5_994_760,
    "prenas-small": 22_989_928,
    "prenas-base": 53_876_104,
    "tf-tas-tiny": 6_200_776,
    "tf-tas-small": 23_935_336,
    "tf-tas-base": 56_470_792,
}


def small_network(**settings: Any) -> Network:
    """Return a small transformer, 32 pixels in patches of 8, in evaluation mode."""
    space = small_space("AutoformerSpace", **settings)
    torch.manual_seed(0)
    network = space.build({"embed_dim": 32, "layers": ["h2r2", "h1r1.5"]}).eval()
    for parameter in network.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
    return network


# --- the space ---------------------------------------------------------------------------------


def test_size() -> None:
    """Widths, times heads and ratios of every layer, for each depth."""
    assert AutoformerSpace().size() == 3 * sum(6**depth for depth in (12, 13, 14))
    assert AutoformerSpace.preset("base").size() == 3 * sum(9**depth for depth in (14, 15, 16))


def test_presets() -> None:
    """Three published sizes; the default is the smallest."""
    assert AutoformerSpace.preset("tiny") == AutoformerSpace()
    small = AutoformerSpace.preset("small", num_classes=10, drop_path=0.1)
    assert small.embed_dims == (320, 384, 448) and small.num_classes == 10
    assert small.largest() == {"embed_dim": 448, "layers": ["h7r4"] * 14}
    with pytest.raises(errors.InvalidArgument, match=r"no size 'smal'. Did you mean 'small'"):
        AutoformerSpace.preset("smal")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    """Parameters of networks, records and catalogue are one number."""
    record = model_info(name)
    space = AutoformerSpace.from_settings(record.settings)
    with torch.device("meta"):
        network = space.build(read_architecture(find_entry(name)))
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[name] == record.parameters
    published = read_catalog()[name]
    assert published["params_computed"] == PUBLISHED[name]
    assert record.macs / 1e6 == pytest.approx(published["macs_m_computed"], abs=0.06)


def test_neighbours_change_heads_or_ratio() -> None:
    """Of one layer, not both; or one layer more or less at the end."""
    choice = EncoderLayers((3, 4), (3.0, 3.5), (1, 2))
    assert sorted(choice.neighbours(["h3r3"])) == sorted(
        [["h4r3"], ["h3r3.5"], *(["h3r3", f"h{h}r{r}"] for h in (3, 4) for r in ("3", "3.5"))]
    )
    assert sorted(choice.neighbours(["h3r3", "h4r3.5"])) == sorted(
        [
            ["h4r3", "h4r3.5"], ["h3r3.5", "h4r3.5"],
            ["h3r3", "h3r3.5"], ["h3r3", "h4r3"],
            ["h3r3"],
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("h3r3", "'h3r3' is not a list of layers"),
        (["h3r3"] * 11, "depth 11 is not one of 12, 13, 14"),
        (["h3r3"] * 11 + ["h5r3"], "layer 11: 'h5r3' is not one of h3r3, h3r3.5, h3r4, h4r3"),
        (["h3r3.0"] * 12, "layer 0: 'h3r3.0' is not one of"),
        ([3] * 12, "layer 0: 3 is not one of"),
    ],
)
def test_check_says_what_is_wrong(layers: Any, message: str) -> None:
    """Each reason names the layer."""
    with pytest.raises(errors.InvalidArchitecture, match=message):
        AutoformerSpace().check({"embed_dim": 192, "layers": layers})


def test_notation() -> None:
    """The candidate tuple of the authors' search, and PreNAS' JSON."""
    space = AutoformerSpace()
    text = str((13, *RATIOS, *HEADS, 192))
    assert space.write_notation(TINY) == text
    assert space.decode(text) == TINY
    candidate = {
        "layer_num": 13,
        "mlp_ratio": RATIOS,
        "num_heads": HEADS,
        "embed_dim": [192] * 13,
        "num_params": 5.867944,
    }
    assert space.decode(json.dumps(candidate)) == TINY


@pytest.mark.parametrize(
    "text",
    [
        "(13, 3.5, 192)",
        "()",
        "(1)",
        "(x, 1)",
        '{"layer_num": 2, "mlp_ratio": [3], "num_heads": [3], "embed_dim": [192]}',
        '{"layer_num": 1, "mlp_ratio": [3], "num_heads": [3], "embed_dim": [192, 216]}',
        '{"layer_num": 1}',
    ],
)
def test_notation_refused(text: str) -> None:
    """Whatever does not add up."""
    with pytest.raises(errors.InvalidArchitecture, match="AutoformerSpace: cannot decode"):
        AutoformerSpace().decode(text)


def labels(**change: Any) -> dict[str, Any]:
    """Return NNI's labels of AutoFormer-T, with what NNI adds for layers it leaves out."""
    named = {"embed_dim": 192, "depth": 13, "num_head_13": 3, "mlp_ratio_13": 3.0}
    named |= {f"num_head_{n}": heads for n, heads in enumerate(HEADS)}
    return {**named, **{f"mlp_ratio_{n}": ratio for n, ratio in enumerate(RATIOS)}, **change}


def test_from_nni() -> None:
    """Layers beyond the depth say nothing; anything else must be known."""
    space = AutoformerSpace()
    assert space.from_nni(labels()) == TINY
    for change, message in (
        ({"depth": "13"}, "label 'depth' cannot be '13'"),
        ({"depth": 15}, "lacks 'num_head_14'"),
        ({"num_head_14": 3}, "does not declare: num_head_14"),
        ({"num_head_0": 2}, "layer 0: 'h2r3.5' is not one of"),
        ({"mlp_ratio_0": "3"}, "label 'mlp_ratio_0' cannot be '3'"),
        ({"embed_dim": 200}, "illegal choice 'embed_dim': 200"),
    ):
        with pytest.raises(errors.InvalidArchitecture, match=message):
            space.from_nni(labels(**change))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": ()}, "num_heads must name at least one"),
        ({"image_size": 225}, "image_size=225 is no multiple of patch_size=16"),
        ({"embed_dims": (0,)}, "setting embed_dims="),
        ({"mlp_ratios": (1e9,), "depths": (0,)}, "setting depths="),
    ],
)
def test_settings_refused(settings: dict[str, Any], message: str) -> None:
    """Settings that no network could have."""
    with pytest.raises(errors.InvalidArgument, match=message):
        AutoformerSpace.from_settings(settings)


def test_random_architectures() -> None:
    """Twenty of them build, run forward and backward."""
    space, rng = small_space("AutoformerSpace"), Random(0)
    for _ in range(20):
        network = space.build(space.sample(rng)).train()
        logits = network(torch.randn(2, 3, 32, 32))
        logits.square().sum().backward()
        assert logits.shape == (2, 5)
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


# --- the network -------------------------------------------------------------------------------


def test_relative_index() -> None:
    """Row 0 is for the class token; the others count from the query to the key, clipped."""
    index = relative_index(2, 3, 1, torch.device("cpu"))
    assert index.vertical.shape == (7, 7)
    for table in index:
        assert not table[0].any() and not table[:, 0].any()
    # From the first patch: the same row and the next one; columns 0, 1, and 2 clipped to 1.
    assert index.vertical[1, 1:].tolist() == [2, 2, 2, 3, 3, 3]
    assert index.horizontal[1, 1:].tolist() == [2, 3, 3, 2, 3, 3]
    # From the last patch, up and left.
    assert index.vertical[6, 1:].tolist() == [1, 1, 1, 2, 2, 2]
    assert index.horizontal[6, 1:].tolist() == [1, 1, 2, 1, 1, 2]


def test_attention_is_what_the_paper_says() -> None:
    """Pair by pair, from the definition."""
    torch.manual_seed(0)
    attention = RelativeAttention(embed_dim=6, num_heads=2, head_dim=4, max_distance=2)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    index = relative_index(2, 2, 2, torch.device("cpu"))
    tokens = torch.randn(1, 5, 6)
    q, k, v = (
        layer(tokens)[0].reshape(5, 2, 4) for layer in (attention.q, attention.k, attention.v)
    )
    keys, values = attention.relative_keys(index), attention.relative_values(index)
    heads = []
    for head in range(2):
        rows = []
        for i in range(5):
            scores = torch.stack([q[i, head] @ (k[j, head] + keys[i, j]) / 2 for j in range(5)])
            weights = scores.softmax(0)
            rows.append(sum(weights[j] * (v[j, head] + values[i, j]) for j in range(5)))
        heads.append(torch.stack(rows))
    expected = attention.proj(torch.cat(heads, 1))
    torch.testing.assert_close(attention(tokens, index)[0], expected)


def test_other_image_sizes() -> None:
    """Positions are interpolated for any multiple of the patch size, oblong ones too."""
    network = small_network()
    for height, width in ((32, 32), (48, 48), (32, 64), (16, 8)):
        images = torch.randn(2, 3, height, width)
        assert network(images).shape == (2, 5)
        features = network.forward_features(images)
        assert features.shape == (2, 32, height // 8, width // 8)
        assert network.features_only([0, 1])(images)[1].shape == features.shape


@pytest.mark.parametrize("size", [(33, 32), (32, 30), (4, 4)])
def test_image_sizes_that_do_not_fit(size: tuple[int, int]) -> None:
    """The message names both sizes and what to do."""
    network = small_network()
    for module in (network, network.features_only()):
        with pytest.raises(errors.InvalidArgument) as caught:
            module(torch.randn(1, 3, *size))
        assert f"images of {size[0]} × {size[1]} pixels" in str(caught.value)
        assert "multiples of its patch size, 8; resize or pad them" in str(caught.value)


def test_the_order_of_patches_is_known() -> None:
    """Rows and columns are not confused: a turned image gives other logits, as do moved patches."""
    network = small_network()
    images = torch.randn(1, 3, 32, 32)
    logits = network(images)
    assert not torch.allclose(network(images.transpose(2, 3)), logits, atol=1e-4)
    assert not torch.allclose(network(images.roll(8, 3)), logits, atol=1e-4)


def test_tables_do_not_decay() -> None:
    """Class token, positions and relative tables, by their full names."""
    network = small_network()
    names = network.no_weight_decay()
    assert {"stem.class_token", "stem.positions"} < names
    assert len(names) == 2 + 2 * 4
    assert names < {name for name, _ in network.named_parameters()}


def test_drop_path_grows_with_depth() -> None:
    """From 0 in the first layer to the setting in the last, as in the authors' code."""
    space = AutoformerSpace(drop_path=0.2)
    with torch.device("meta"):
        layers = space.build(TINY).stages
    assert type(layers[0].drop_path).__name__ == "Identity"
    assert layers[6].drop_path.drop_prob == pytest.approx(0.1)
    assert layers[12].drop_path.drop_prob == pytest.approx(0.2)


def test_hash_is_stable() -> None:
    """Native files carry it: a change would break every file written before."""
    expected = "ce6215036098659599fb8697ebd8e457135f3637d5ba35824a0ca1f5c6343082"
    assert AutoformerSpace().architecture_hash(TINY) == expected
