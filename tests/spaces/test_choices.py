"""The kinds of choice: what they count, draw, list and refuse."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from zoo.errors import InvalidArgument
from zoo.spaces.choices import OneOf, Stage
from zoo.spaces.mbconv import BlockLabel, read_label, write_label


def test_one_of() -> None:
    """Every other option is a neighbour."""
    choice = OneOf((3, 5, 7))
    assert choice.size() == 3
    assert list(choice.neighbours(5)) == [3, 7]
    assert {choice.sample(Random(seed)) for seed in range(30)} == {3, 5, 7}


@pytest.mark.parametrize("depths", [(1,), (1, 2, 3), (2, 3), (0, 1, 2), (1, 3)])
def test_stage_neighbours_are_complete(depths: tuple[int, ...]) -> None:
    """One block replaced, the last dropped, or one appended: exactly those of all lists."""
    stage = Stage(("a", "b", "c"), depths)
    everything = [list(v) for d in depths for v in itertools.product(stage.options, repeat=d)]
    assert stage.size() == len(everything)
    for value in everything:
        expected = [
            other
            for other in everything
            if (len(other) == len(value) and sum(map(str.__ne__, value, other)) == 1)
            or (len(other) == len(value) + 1 and other[:-1] == value)
            or (len(other) == len(value) - 1 and value[:-1] == other)
        ]
        assert sorted(stage.neighbours(value)) == sorted(expected)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["a"], None),
        (["a", "b"], None),
        ([], "depth 0 is not one of 1, 2"),
        (["a"] * 3, "depth 3 is not one of 1, 2"),
        (["a", "d"], "block 1: 'd' is not one of a, b"),
        (["a", 1], "block 1: 1 is not one of a, b"),
        (("a",), "('a',) is not a list of blocks"),
        ("a", "'a' is not a list of blocks"),
        (None, "None is not a list of blocks"),
    ],
)
def test_stage_problems(value: Any, problem: str | None) -> None:
    """Every reason names what is expected and what is there."""
    assert Stage(("a", "b"), (1, 2)).problem(value) == problem


@pytest.mark.parametrize(
    ("options", "value", "legal"),
    [
        ((1, 2), 1.0, True),
        ((1.0, 2.0), 1, True),
        ((1, 2), True, False),
        ((True, False), 1, False),
        ((True, False), True, True),
        ((3, 5), "3", False),
        (("3", "5"), 3, False),
        ((None, 1), None, True),
        (([1, 2],), [1, 2], True),
        ((1, 2), [1], False),
        ((1, 2), float("nan"), False),
    ],
)
def test_values_of_other_types(options: tuple[Any, ...], value: Any, legal: bool) -> None:
    """1 and 1.0 are one value; True, "1" and 1 are three."""
    assert (OneOf(options).problem(value) is None) is legal


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneOf(()),
        lambda: OneOf((1, 2, 1.0)),
        lambda: Stage((), (1,)),
        lambda: Stage(("a",), ()),
        lambda: Stage(("a", "a"), (1,)),
        lambda: Stage(("a",), (1, 1)),
    ],
)
def test_nothing_to_choose_or_the_same_twice(make: Any) -> None:
    """Such a choice would count wrong, so it cannot be declared."""
    with pytest.raises(InvalidArgument, match="at least one, each once"):
        make()


@pytest.mark.parametrize(
    ("label", "block"),
    [
        ("k3e6", BlockLabel(3, 6.0, False)),
        ("k5e3.67_se", BlockLabel(5, 3.67, True)),
        ("k7", BlockLabel(7, None, False)),
        ("k3_se", BlockLabel(3, None, True)),
        ("k11e0.5", BlockLabel(11, 0.5, False)),
        ("k3-5-7e6_se", BlockLabel((3, 5, 7), 6.0, True)),
        ("k3-5e3_a2_p2", BlockLabel((3, 5), 3.0, False, 2, 2)),
        ("k3e6_se_p2", BlockLabel(3, 6.0, True, 1, 2)),
    ],
)
def test_block_labels(label: str, block: BlockLabel) -> None:
    """A label is read and written without loss."""
    assert read_label(label) == block
    assert write_label(*block) == label
