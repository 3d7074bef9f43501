"""ShuffleNetSpace: twenty blocks, their widths, the authors' numbers and NNI's labels."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from tests.shared_material import read_catalog
from zoo import ShuffleNetSpace, errors
from zoo.manifest import find_records
from zoo.networks.shufflenet import ShuffleBlock, ShufflePlan

# The published architecture, megvii-model/SinglePathOneShot README.
SPOS = (2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)
# megvii-model/ShuffleNet-Series, OneShot/network.py.
BLOCKS = (0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2)
SCALES = (6, 5, 3, 5, 2, 6, 3, 4, 2, 5, 7, 5, 4, 6, 7, 4, 4, 5, 4, 3)
MIDDLE = (
    44,
    38,
    25,
    38,
    48,
    112,
    64,
    80,
    96,
    192,
    256,
    192,
    160,
    224,
    256,
    160,
    320,
    384,
    320,
    256,
)


def test_size() -> None:
    """4 kinds of block, and with channel search 8 widths each, for twenty blocks."""
    assert ShuffleNetSpace().size() == 4**20
    assert ShuffleNetSpace(channel_search=True).size() == 32**20


def test_notation() -> None:
    """The authors' numbers; a second list are the scales."""
    space = ShuffleNetSpace()
    architecture = space.decode(str(SPOS))
    assert [architecture[f"layer_{n}"] for n in (1, 2, 3, 12)] == ["k7", "k5", "k3", "xcep"]
    assert space.write_notation(architecture) == str(SPOS)
    assert space.decode(str(list(SPOS))) == architecture
    searched = ShuffleNetSpace(channel_search=True)
    with_scales = searched.decode(f"{BLOCKS} {SCALES}")
    assert with_scales["scale_1"] == 1.4 and with_scales["scale_11"] == 1.6
    assert searched.write_notation(with_scales) == f"{BLOCKS} {SCALES}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (str((4, *SPOS[1:])), "layer 1: number 4 is not one of 0 … 3"),
        (str(SPOS[:5]), "missing choice 'layer_20'"),
        (f"{BLOCKS} {SCALES}", "undeclared choice 'scale_1'"),
    ],
)
def test_notation_refused(text: str, message: str) -> None:
    """Wrong numbers, too few, and scales where none are searched."""
    with pytest.raises(errors.InvalidArchitecture, match=message):
        ShuffleNetSpace().decode(text)


def test_middle_widths() -> None:
    """Tenths of half the output width, rounded down, as NNI lists them for this architecture."""
    space = ShuffleNetSpace(channel_search=True)
    labels = {f"layer_{n}": ("k3", "k5", "k7", "xcep")[b] for n, b in enumerate(BLOCKS, start=1)}
    labels |= {f"channel_{n}": width for n, width in enumerate(MIDDLE, start=1)}
    architecture = space.from_nni(labels)
    assert architecture == space.decode(f"{BLOCKS} {SCALES}")
    network = space.build(architecture)
    blocks = [block for stage in network.stages for block in stage]
    built = [block.main[1 if len(block.main) == 6 else 0].conv.out_channels for block in blocks]
    assert tuple(built) == MIDDLE
    with pytest.raises(errors.InvalidArchitecture, match="channel_1 is 45, expected one of 6, 12"):
        space.from_nni({**labels, "channel_1": 45})
    with pytest.raises(errors.InvalidArchitecture, match="does not declare: channel_1"):
        ShuffleNetSpace().from_nni(labels)


@pytest.mark.parametrize("separable", [False, True])
def test_block_passes_every_second_channel_on(separable: bool) -> None:
    """Even channels pass a block of stride 1 untouched and come first; odd ones are worked on."""
    from zoo.layers.conv import BatchNormSettings

    block = ShuffleBlock(8, ShufflePlan(8, 4, 3, 1, separable), norm=BatchNormSettings()).eval()
    images = torch.randn(2, 8, 6, 6)
    out = block(images)
    assert torch.equal(out[:, :4], images[:, 0::2])
    assert torch.equal(out[:, 4:], block.main(images[:, 1::2]))
    assert len(block.main) == (6 if separable else 3) and block.shortcut is None


def test_block_of_stride_two() -> None:
    """Both branches see the whole input; the shortcut keeps its width."""
    from zoo.layers.conv import BatchNormSettings

    block = ShuffleBlock(6, ShufflePlan(16, 8, 5, 2), norm=BatchNormSettings()).eval()
    images = torch.randn(2, 6, 7, 7)
    out = block(images)
    assert out.shape == (2, 16, 4, 4)
    assert block.shortcut is not None
    assert torch.equal(out[:, :6], block.shortcut(images))


def test_classifier_has_no_bias() -> None:
    """As published; a new classifier neither, so that its files fit a network built for it."""
    network = ShuffleNetSpace(num_classes=5).build(ShuffleNetSpace().decode(str(SPOS)))
    assert network.get_classifier().bias is None
    network.reset_classifier(7)
    assert network.get_classifier().bias is None
    network.reset_classifier(0)
    assert network.get_classifier()(torch.ones(2, 1024)).shape == (2, 1024)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (16, 64)}, "expected 6 widths and 5 strides, got 2 and 5"),
        ({"strides": (2, 2, 2, 2)}, "expected 6 widths and 5 strides, got 6 and 4"),
        ({"widths": (16, 64, 64, 320, 640, 1024)}, "must be wider than the one before"),
        ({"widths": (15, 64, 160, 320, 640, 1024)}, "setting widths="),
    ],
)
def test_settings_refused(settings: dict[str, Any], message: str) -> None:
    """Widths that no network could have."""
    with pytest.raises(errors.InvalidArgument, match=message):
        ShuffleNetSpace.from_settings(settings)


@pytest.mark.parametrize("channel_search", [False, True])
def test_random_architectures(channel_search: bool) -> None:
    """Twenty of them build, run forward and backward at a small size."""
    space = ShuffleNetSpace(
        channel_search=channel_search, num_classes=3, widths=(8, 16, 24, 32, 40, 48)
    )
    rng = Random(0)
    for _ in range(10):
        network = space.build(space.sample(rng)).train()
        logits = network(torch.randn(2, 3, 64, 64))
        assert logits.shape == (2, 3)
        logits.square().sum().backward()
        assert torch.isfinite(network.stem.conv.weight.grad).all()


def test_counts_are_the_catalogs() -> None:
    """Parameters of every published network, to the last one."""
    catalog = read_catalog()
    found = {
        name: record.parameters
        for name, record in find_records()
        if record.space == "ShuffleNetSpace"
    }
    assert len(found) >= 5
    assert found.keys() - catalog.keys() == {"spos-mini"}
    for name in found.keys() & catalog.keys():
        assert found[name] == catalog[name]["params_computed"]
    for record in (record for _, record in find_records() if record.space == "ShuffleNetSpace"):
        bgr = record.preprocessing.channels == "BGR"
        assert record.preprocessing.value_range == ((0, 255) if bgr else (0, 1))
        assert record.preprocessing.antialias is not bgr


def test_hash_is_stable() -> None:
    """Native files carry it: a change would break every file written before."""
    expected = "031fb6c5ba9b76f8c2eea0b1b3c83f8d5e778ba4e8da2eb925a79f374cff3264"
    assert ShuffleNetSpace().architecture_hash(ShuffleNetSpace().decode(str(SPOS))) == expected


def test_strides_for_small_images() -> None:
    """A stage of stride 1 widens without halving: images of 32 pixels end at 4."""
    space = ShuffleNetSpace(widths=(4, 8, 16, 32, 64, 64), strides=(1, 1, 2, 2, 2), num_classes=10)
    network = space.build(space.sample(Random(0)))
    assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)
    assert [info["reduction"] for info in network.feature_info] == [1, 2, 4, 8]
    assert network.train()(torch.randn(2, 3, 32, 32)).shape == (2, 10)
