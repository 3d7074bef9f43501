"""MobileNetV3Space: NNI's labels, widths, gates, and settings that do not fit each other."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from tests.spaces.small import images_for, small_space
from zoo import MobileNetV3Space, errors
from zoo.spaces.mbconv import round_channels

SETTINGS: dict[str, Any] = {
    "base_widths": (16, 16, 24, 40, 112, 1280),
    "width_multipliers": (1.0,),
    "squeeze_excite": ("none", "optional", "force"),
    "expand_ratios": (2.3, 4, 6),
    "depths": ((1, 2), (1, 2)),
    "strides": (2, 1, 2, 2, 1, 1),
    "activations": ("hswish", "relu", "relu", "hswish", "hswish", "hswish"),
}
LABELS: dict[str, Any] = {
    "stem_ks": 3, "s0_i0_ks": 3,
    "s1_depth": 2,
    "s1_i0_ks": 5, "s1_i0_exp": 4, "s1_i0_se": "se",
    "s1_i1_ks": 3, "s1_i1_exp": 2.3, "s1_i1_se": "identity",
    "s2_depth": 1,
    "s2_i0_ks": 7, "s2_i0_exp": 6.0,
}  # fmt: skip
ARCHITECTURE = {
    "stem_kernel": 3,
    "s0": ["k3"],
    "s1": ["k5e4_se", "k3e2.3"],
    "s2": ["k7e6_se"],
}


def space(**settings: Any) -> MobileNetV3Space:
    """Return the space of these tests with other settings."""
    return MobileNetV3Space(**{**SETTINGS, **settings})


def test_size() -> None:
    """TuNAS' largest space: stem, six stages, eight widths."""
    s0, plain, gated = 3, 18, 36
    stages = [sum(options**depth for depth in (1, 2, 3, 4)) for options in (plain, gated)]
    expected = 2 * s0 * stages[0] ** 2 * stages[1] ** 3 * 7**8
    assert MobileNetV3Space().size() == expected


def test_from_nni() -> None:
    """NNI's labels; a gate is a label only where it is optional."""
    assert space().from_nni(LABELS) == ARCHITECTURE
    assert space().from_nni({**LABELS, "s0_depth": 1}) == ARCHITECTURE


def test_from_nni_with_widths() -> None:
    """Width multipliers are labels where there is more than one."""
    widths = {f"s{stage}_width_mult": 1.0 for stage in range(5)}
    converted = space(width_multipliers=(0.5, 1.0)).from_nni({**LABELS, **widths})
    assert converted == {**ARCHITECTURE, **{f"s{stage}_width": 1.0 for stage in range(5)}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s1_depth": "2"}, "'s1_depth' cannot be '2'"),
        ({"s1_depth": 3}, "lacks 's1_i2_ks'"),
        ({"s1_depth": 1}, "does not declare: s1_i1_ks, s1_i1_exp, s1_i1_se"),
        ({"s1_i0_exp": "4"}, "'s1_i0_exp' cannot be '4'"),
        ({"s1_i0_exp": 5}, "illegal choice 's1': block 0: 'k5e5_se'"),
        ({"s2_i0_se": "se"}, "does not declare: s2_i0_se"),
        ({"stem_ks": 9}, "illegal choice 'stem_kernel': 9 is not one of 3, 5"),
    ],
)
def test_from_nni_refuses(change: dict[str, Any], message: str) -> None:
    """What is missing, left over or illegal is named."""
    with pytest.raises(errors.InvalidArchitecture, match=message):
        space().from_nni({**LABELS, **change})


def test_blocks_are_what_their_labels_say() -> None:
    """Kernel, rounded middle width, gate width and activation of every block."""
    network = space().build(ARCHITECTURE)
    first, (second, third), (fourth,), (last,) = network.stages[0][0], *network.stages[1:]
    assert type(first.expand).__name__ == "Identity" and first.residual
    assert second.depthwise.conv.in_channels == 64 == round_channels(16 * 4)
    assert third.depthwise.conv.in_channels == 56 == round_channels(24 * 2.3)
    assert fourth.depthwise.conv.in_channels == 144
    assert [b.depthwise.conv.kernel_size[0] for b in (first, second, third, fourth)] == [3, 5, 3, 7]
    assert second.squeeze_excite.fc1.out_channels == 16  # 64 / 4
    assert type(third.squeeze_excite).__name__ == "Identity"
    assert fourth.squeeze_excite.fc1.out_channels == 40  # 144 / 4 = 36, rounded to 8
    assert third.residual and not second.residual
    assert type(second.depthwise.act).__name__ == "ReLU"
    assert type(fourth.depthwise.act).__name__ == "Hardswish"
    assert last.conv.out_channels == 112
    assert network.hidden.fc.out_features == network.head_hidden_size == 1280


def test_widths_follow_their_multipliers() -> None:
    """The stem shares the multiplier of `s0`; every width is rounded to a multiple of 8."""
    chosen = {"s0_width": 0.5, "s1_width": 1.0, "s2_width": 0.5, "s3_width": 1.0, "s4_width": 0.5}
    network = space(width_multipliers=(0.5, 1.0)).build({**ARCHITECTURE, **chosen})
    assert network.stem.conv.out_channels == 8
    outs = [stage[-1] for stage in network.stages]
    assert [block.project.conv.out_channels for block in outs[:3]] == [8, 24, 24]  # 40 / 2 = 20
    assert outs[3].conv.out_channels == 112
    assert network.head_hidden_size == 640


def test_mixed_convolutions() -> None:
    """A label says kernel sizes and parts; gates take their ratio from their stage."""
    mixed = space(
        kernel_sizes=(3, (3, 5, 7)),
        splits=((1, 1), (2, 2)),
        gate_ratios=(0.25, 0.5, 0.25),
        gate={"divisor": 1},
        expand_ratios=(4,),
    )
    network = mixed.build({**ARCHITECTURE, "s1": ["k3-5-7e4_se_a2_p2"], "s2": ["k3e4_se"]})
    (first,), (second,) = network.stages[1], network.stages[2]
    depthwise = list(first.depthwise.conv.children())
    assert [conv.kernel_size[0] for conv in depthwise] == [3, 5, 7]
    assert [conv.out_channels for conv in depthwise] == [22, 21, 21]  # 64, the rest to the first
    assert all(conv.groups == conv.in_channels and conv.stride == (2, 2) for conv in depthwise)
    assert [conv.weight.shape[:2] for conv in first.expand.conv.children()] == [(32, 8)] * 2
    assert [conv.weight.shape[:2] for conv in first.project.conv.children()] == [(12, 32)] * 2
    assert first.squeeze_excite.fc1.out_channels == 32
    assert second.squeeze_excite.fc1.out_channels == 24
    assert isinstance(second.depthwise.conv, torch.nn.Conv2d)


@pytest.mark.parametrize("size", [15, 16])
def test_same_padding(size: int) -> None:
    """TensorFlow's rule pads an even size at the bottom and right only, an odd one evenly."""
    network = space(same_padding=True).build(ARCHITECTURE)
    image = torch.zeros(1, 3, size, size)
    image[..., -1, -1] = 1
    with torch.inference_mode():
        network.stem.conv.weight.fill_(1)
        corner = network.stem.conv(image)[0, 0]
    # The last window reaches the last pixel in both cases; sizes are rounded up.
    assert corner.shape == (8, 8) and corner[-1, -1] == 3
    first = network.stem.conv(torch.eye(size)[None, None].expand(1, 3, size, size))[0, 0, 0, 0]
    assert first.item() == (3 * 3 if size == 16 else 3 * 2)  # three pixels of the diagonal, or two


def test_a_gate_before_the_activation() -> None:
    """It changes the order in widening blocks only, and no key."""
    late, early = space(), space(gate={"before_activation": True})
    networks = [chosen.build({**ARCHITECTURE, "s1": ["k3e4_se"]}) for chosen in (late, early)]
    assert list(networks[0].state_dict()) == list(networks[1].state_dict())
    block = networks[1].stages[1][0]
    assert isinstance(block.depthwise.act, torch.nn.Identity)
    assert isinstance(block.gated_act, torch.nn.ReLU)
    assert isinstance(networks[1].stages[0][0].depthwise.act, torch.nn.ReLU)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (1, 8),
        (12, 16),
        (8.8, 8),
        (9, 16),
        (18, 24),
        (20, 24),
        (36, 40),
        (200, 200),
        (184, 184),
        (88.08, 88),
    ],
)
def test_round_channels(channels: float, expected: int) -> None:
    """To multiples of 8, never below 90 % of the exact width."""
    assert round_channels(channels) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": (2, 1)}, "6 base_widths .* 6 strides, got 2"),
        ({"activations": ("relu",) * 7}, "6 activations, got 7"),
        ({"squeeze_excite": ("none",)}, "3 squeeze_excite, got 1"),
        ({"depths": ((1, 2),)}, "2 depths, got 1"),
        ({"depths": ((2, 1), (1, 1))}, "depths 2 to 1"),
        ({"base_widths": (16,)}, "1 base_widths"),
        ({"strides": (2, 1, 3, 2, 1, 1)}, "setting strides="),
        ({"squeeze_excite": ("none", "maybe", "force")}, "setting squeeze_excite="),
        ({"activations": ("gelu",) * 6}, "setting activations="),
        ({"width_multipliers": ()}, "setting width_multipliers="),
        ({"width_multipliers": (1.0, 1)}, "1.0 again"),
        ({"expand_ratios": (1e9,)}, "expand ratio 1000000000.0"),
        ({"gate_ratios": (0.25,)}, "3 gate_ratios, got 1"),
        ({"gate": {"reduced_from": "output"}}, "setting gate="),
        ({"kernel_sizes": (3, (5, 8))}, "kernel size 8: expected an odd number"),
        ({"kernel_sizes": ((5,),)}, r"write 3, not \[3\]"),
        ({"splits": ((1, 0),)}, "setting splits="),
        ({"first_depths": (3, 2)}, "depths 3 to 2"),
    ],
)
def test_settings_refused(settings: dict[str, Any], message: str) -> None:
    """A setting that no network could be built from is refused before one is built."""
    with pytest.raises(errors.InvalidArgument, match=message):
        space(**settings).choices()


def test_fused_stages() -> None:
    """The first stages widen and filter in one convolution; the next ones do not."""
    space = small_space("MobileNetV3Space", fused_stages=2, first_expand_ratios=(2,))
    architecture = space.sample(Random(0))
    network = space.build(architecture)
    fused, plain = network.stages[1][0], network.stages[2][0]
    kernel, stride = fused.expand.conv.kernel_size, fused.expand.conv.stride
    assert kernel == plain.depthwise.conv.kernel_size == (3, 3)
    assert stride == plain.depthwise.conv.stride == (2, 2)
    assert fused.expand.conv.groups == 1 and isinstance(fused.depthwise, torch.nn.Identity)
    assert network(images_for("MobileNetV3Space")).shape == (2, 5)
    usual = small_space("MobileNetV3Space", first_expand_ratios=(2,))
    assert usual.architecture_hash(architecture) != space.architecture_hash(architecture)
