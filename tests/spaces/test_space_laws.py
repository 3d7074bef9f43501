"""Laws of every search space; a space added to `zoo.registry.SPACES` is tested by them."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tests.spaces.small import (
    SMALL,
    each_space,
    has_setting,
    images_for,
    sampled_network,
    small_space,
)
from zoo import errors
from zoo.registry import SPACES, find_space
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf, Stage
from zoo.spaces.darts import DARTS

seeds = st.integers(0, 2**32)
examples = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def text_of(architecture: Architecture) -> str:
    """Return a text that equal architectures share; not that of `encode`, which is tested."""
    return json.dumps(sorted(architecture.items()))


def differing(one: Architecture, other: Architecture) -> list[str]:
    """Return the names of the choices that two architectures decide differently."""
    return [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]


# --- what there is to choose -------------------------------------------------------------------


@each_space
def test_size_is_the_number_of_architectures(name: str) -> None:
    """Walking from neighbour to neighbour reaches exactly `size()` architectures, all legal."""
    space = small_space(name)
    if SMALL[name].size is not None:
        assert space.size() == SMALL[name].size
        return
    assert space.size() <= 20_000, "too many to walk: make the entry in small.py smaller"
    start = space.sample(Random(0))
    reached, waiting = {text_of(start)}, [start]
    while waiting:
        for neighbour in space.neighbours(waiting.pop()):  # refuses an illegal architecture
            text = text_of(neighbour)
            if text not in reached:
                reached.add(text)
                waiting.append(neighbour)
    assert len(reached) == space.size()


@each_space
def test_sample_is_legal_and_repeatable(name: str) -> None:
    """Samples pass `check`, the same seed gives the same one, and other seeds give others."""
    space = find_space(name)()
    samples = [space.sample(Random(seed)) for seed in range(50)]
    for sample in samples:
        space.check(sample)
    assert samples == [space.sample(Random(seed)) for seed in range(50)]
    assert len({text_of(sample) for sample in samples}) > 40


@each_space
def test_sample_draws_every_option(name: str) -> None:
    """Every value of every choice of a small space turns up."""
    space, rng = small_space(name), Random(1)
    samples = [space.sample(rng) for _ in range(300)]
    for choice_name, choice in space.choices().items():
        drawn = [sample[choice_name] for sample in samples]
        if isinstance(choice, OneOf):
            assert {text_of({"": value}) for value in drawn} == {
                text_of({"": option}) for option in choice.options
            }
        elif isinstance(choice, Stage):
            assert {len(value) for value in drawn} == set(choice.depths)
            assert set(itertools.chain(*drawn)) == set(choice.options)


@each_space
@examples
@given(seed=seeds)
def test_mutate_changes_one_choice(name: str, seed: int) -> None:
    """A mutant is a neighbour; the parent stays as it was."""
    space, rng = small_space(name), Random(seed)
    parent = space.sample(rng)
    before = copy.deepcopy(parent)
    mutant = space.mutate(parent, rng)
    space.check(mutant)
    assert len(differing(parent, mutant)) == 1
    assert text_of(mutant) in {text_of(neighbour) for neighbour in space.neighbours(parent)}
    assert parent == before


@each_space
@examples
@given(seed=seeds)
def test_neighbours_are_unique_and_mutual(name: str, seed: int) -> None:
    """No neighbour comes twice, none is the architecture itself, and each has it as neighbour."""
    space, rng = small_space(name), Random(seed)
    architecture = space.sample(rng)
    neighbours = list(space.neighbours(architecture))
    assert len({text_of(neighbour) for neighbour in neighbours}) == len(neighbours)
    assert all(len(differing(architecture, neighbour)) == 1 for neighbour in neighbours)
    assert architecture in list(space.neighbours(rng.choice(neighbours)))


def test_neighbours_are_complete() -> None:
    """Of all architectures of a space with stages, those one decision away are the neighbours."""
    space = small_space("ProxylessNAS")
    everything = list(all_architectures(space))
    assert len(everything) == space.size()
    for architecture in Random(3).sample(everything, 5):
        expected = {text_of(a) for a in everything if is_one_decision_apart(architecture, a)}
        assert {text_of(a) for a in space.neighbours(architecture)} == expected


def all_architectures(space: SearchSpace) -> Iterator[Architecture]:
    """Yield every architecture of a space of stages, from the definition of a stage."""
    stages = [
        [list(v) for depth in c.depths for v in itertools.product(c.options, repeat=depth)]
        for c in space.choices().values()
        if isinstance(c, Stage)
    ]
    for values in itertools.product(*stages):
        yield dict(zip(space.choices(), values, strict=True))


def is_one_decision_apart(one: Architecture, other: Architecture) -> bool:
    """Return whether one block of one stage differs, or one block more stands at its end."""
    names = differing(one, other)
    if len(names) != 1:
        return False
    short, long = sorted((one[names[0]], other[names[0]]), key=len)
    if len(short) == len(long):
        return sum(a != b for a, b in zip(short, long, strict=True)) == 1
    return long[:-1] == short


def test_mutate_of_a_space_with_one_architecture() -> None:
    """There is nothing to mutate; that is an error and no endless search."""
    space = find_space("ProxylessNAS").from_settings(
        {"kernel_sizes": [3], "expand_ratios": [6], "max_depths": [1] * 6}
    )
    assert space.size() == 1
    assert list(space.neighbours(space.sample(Random(0)))) == []
    with pytest.raises(errors.InvalidArgument, match="has one architecture"):
        space.mutate(space.sample(Random(0)), Random(0))


# --- what is refused ---------------------------------------------------------------------------


@each_space
def test_check_names_everything_wrong_at_once(name: str) -> None:
    """Missing, undeclared and illegal choices stand in one message. FAULTS 60."""
    space = small_space(name)
    good = space.sample(Random(0))
    missing, illegal = next(iter(good)), next(reversed(good))
    misspelt = missing[:-1] + "_" + missing[-1]
    bad = {**good, misspelt: good[missing], illegal: "no such value"}
    del bad[missing]
    with pytest.raises(errors.InvalidArchitecture) as caught:
        space.check(bad)
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert f"missing choice '{missing}'" in text
    assert f"undeclared choice '{misspelt}'. Did you mean" in text
    assert f"'{missing}'" in text.split("Did you mean", 1)[1]
    if illegal != missing:  # a space may have one choice only
        assert f"illegal choice '{illegal}'" in text
        assert "no such value" in text


@each_space
@pytest.mark.parametrize("wrong", [None, [], "text", -3, float("nan"), {"a": 1}, True, [None], b""])
def test_check_refuses_wrong_types(name: str, wrong: Any) -> None:
    """A value of another type is illegal by name, whatever it is. FAULTS 60."""
    space = small_space(name)
    good = space.sample(Random(0))
    for choice in good:
        with pytest.raises(errors.InvalidArchitecture, match=f"illegal choice '{choice}'"):
            space.check({**good, choice: wrong})


@each_space
@pytest.mark.parametrize("wrong", [None, [], "{}", 3, [["s2", []]]])
def test_check_refuses_what_is_no_dictionary(name: str, wrong: Any) -> None:
    """Every method that takes an architecture says what an architecture is."""
    space = small_space(name)
    for method in (space.check, space.build, space.encode, space.architecture_hash):
        with pytest.raises(errors.InvalidArchitecture, match="dictionary of choices"):
            method(wrong)


@each_space
def test_build_refuses_an_illegal_architecture(name: str) -> None:
    """`build` checks first."""
    space = small_space(name)
    good = space.sample(Random(0))
    with pytest.raises(errors.InvalidArchitecture, match="missing choice"):
        space.build(dict(list(good.items())[1:]))


@each_space
def test_settings_of_the_wrong_type(name: str) -> None:
    """An error about a setting has its own type and names the setting and the value."""
    space = find_space(name)
    for field in msgspec.structs.fields(space):
        for wrong in (object(), "four", -7, None):
            if wrong is None and (field.default is None or "feature_mix" in field.name):
                continue  # None is a value of it
            with pytest.raises(errors.InvalidArgument) as caught:
                space.from_settings({field.name: wrong})
            assert f"setting {field.name}=" in str(caught.value)
            assert name in str(caught.value)


@each_space
@pytest.mark.parametrize("wrong", [True, -1, 1.5, 10**9, "10", 1000.0])
def test_number_of_classes_of_the_wrong_kind(name: str, wrong: Any) -> None:
    """A number of classes is an integer from 0 to a million. FAULTS 56."""
    with pytest.raises(errors.InvalidArgument, match="num_classes"):
        find_space(name).from_settings({"num_classes": wrong})


@each_space
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1])
def test_numbers_that_are_none(name: str, wrong: float) -> None:
    """NaN and infinity are refused wherever a setting is a number."""
    space = find_space(name)
    for field in msgspec.structs.fields(space):
        if isinstance(field.default, float):
            with pytest.raises(errors.InvalidArgument, match=field.name):
                space.from_settings({field.name: wrong})


@each_space
def test_an_empty_range_is_refused(name: str) -> None:
    """A setting that lists what may be chosen cannot be empty."""
    space = find_space(name)
    for field in msgspec.structs.fields(space):
        if isinstance(field.default, tuple):
            with pytest.raises(errors.InvalidArgument):
                space.from_settings({field.name: ()}).choices()


@each_space
def test_an_unknown_setting(name: str) -> None:
    """A misspelt setting gets a suggestion and the list of all."""
    with pytest.raises(errors.InvalidArgument) as caught:
        find_space(name).from_settings({"num_clases": 10})
    assert f"{name} has no setting 'num_clases'. Did you mean 'num_classes'" in str(caught.value)
    assert "in_chans" in str(caught.value)


# --- texts and hashes --------------------------------------------------------------------------


@each_space
@examples
@given(seed=seeds)
def test_encode_and_decode_are_inverse(name: str, seed: int) -> None:
    """A text gives its architecture back; order and number type do not show in it."""
    space = find_space(name)()
    architecture = space.sample(Random(seed))
    text = space.encode(architecture)
    decoded = space.decode(text)
    assert decoded == architecture
    assert space.encode(decoded) == text
    shuffled = dict(Random(seed).sample(list(architecture.items()), len(architecture)))
    assert space.encode(shuffled) == text
    assert space.architecture_hash(shuffled) == space.architecture_hash(architecture)
    assert json.loads(text) == architecture
    assert " " not in text and list(json.loads(text)) == sorted(architecture)


@each_space
@examples
@given(seed=seeds)
def test_notation_is_inverse_where_there_is_one(name: str, seed: int) -> None:
    """What `write_notation` spells, `decode` reads."""
    space = find_space(name)()
    if not hasattr(space, "write_notation"):
        return
    architecture = space.sample(Random(seed))
    assert space.decode(space.write_notation(architecture)) == architecture


@each_space
@examples
@given(text=st.text(max_size=40))
def test_decode_refuses_any_other_text(name: str, text: str) -> None:
    """No text makes `decode` fail otherwise than with its own error."""
    with pytest.raises(errors.InvalidArchitecture, match=name):
        small_space(name).decode(text)


@each_space
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", "[" * 100_000, '{"a":' * 50_000, "|||", "NaN", '"k3e6"']
)
def test_decode_refuses_damaged_texts(name: str, text: str) -> None:
    """Nor do the usual ways to damage one."""
    with pytest.raises(errors.InvalidArchitecture, match=name):
        small_space(name).decode(text)


def test_an_integer_is_the_same_choice_as_its_float() -> None:
    """1 and 1.0 give the same text and hash, in choices and in settings; True is neither."""
    space = small_space("MobileNetV3Space")
    one = {**space.sample(Random(0)), "s0_width": 1, "s1_width": 1}
    other = {**one, "s0_width": 1.0, "s1_width": 1.0}
    assert space.encode(one) == space.encode(other)
    assert space.architecture_hash(one) == space.architecture_hash(other)
    assert '"s0_width":1,' in space.encode(other)
    with pytest.raises(errors.InvalidArchitecture, match=r"s0_width.*True is not one of"):
        space.check({**one, "s0_width": True})
    as_float = small_space("MobileNetV3Space", width_multipliers=(0.5, 1), expand_ratios=(1.0, 2.5))
    assert as_float.architecture_hash(one) == space.architecture_hash(one)
    assert as_float.choices() == space.choices()


# Hash of the architecture of first options, in the default space. It is a file format: native
# files carry it, so a change here breaks every file written before.
PINNED = {
    "MobileNetV3Space": "4309295970cf1590c8d24d311a39a4088d3521708e84bc160c88ce528e428130",
    "NasBench201": "de22a968ded618e6f78f1f8f97f04f862c43c558b6e8ea76fd9fa6a6ed263528",
    "ProxylessNAS": "f1e04164dc0cd93948e6f6339cf105aa2cbb807de4053eed7c1b8689379eb8d8",
}


@pytest.mark.parametrize("name", sorted(PINNED))
def test_hash_is_stable(name: str) -> None:
    """The hash of a known architecture is what it always was."""
    space = find_space(name)()
    first = {
        choice_name: choice.options[0] if isinstance(choice, OneOf) else [choice.options[0]]
        for choice_name, choice in space.choices().items()
    }
    assert space.architecture_hash(first) == PINNED[name]


def test_every_space_has_small_settings() -> None:
    """A space without an entry in `small.py` skips the laws, so there must be none."""
    assert set(SMALL) == set(SPACES)


@each_space
def test_hash_passes_over_what_leaves_the_body_as_it_is(name: str) -> None:
    """Classes, input channels, dropout: the same body. Other settings: another."""
    space = small_space(name)
    architecture = space.sample(Random(0))
    expected = space.architecture_hash(architecture)
    assert len(expected) == 64 and set(expected) <= set("0123456789abcdef")
    for setting, value in (("num_classes", 7), ("in_chans", 1), ("dropout", 0.5)):
        if has_setting(space, setting):
            other = small_space(name, **{setting: value})
            assert other.architecture_hash(architecture) == expected
    neighbour = next(space.neighbours(architecture))
    assert space.architecture_hash(neighbour) != expected


@pytest.mark.parametrize(
    ("name", "wider"),
    [
        (
            "ProxylessNAS",
            {"kernel_sizes": (3, 5), "expand_ratios": (3, 4, 6), "max_depths": [4] * 6},
        ),
        (
            "MobileNetV3Space",
            {
                "kernel_sizes": (3, 5),
                "stem_kernel_sizes": (3, 5, 7),
                "expand_ratios": (1, 2, 2.5),
                "depths": ((1, 6), (1, 4)),
                "squeeze_excite": ("optional",) * 3,
            },
        ),
    ],
)
def test_hash_passes_over_the_ranges(name: str, wider: dict[str, Any]) -> None:
    """An architecture keeps its hash in a space that also has others to choose."""
    space = small_space(name)
    architecture = space.sample(Random(0))
    assert small_space(name, **wider).architecture_hash(architecture) == (
        space.architecture_hash(architecture)
    )


# --- what is built -----------------------------------------------------------------------------


@each_space
def test_build_leaves_no_choice(name: str) -> None:
    """A network holds modules, numbers and plain data: nothing of the space."""
    network = sampled_network(small_space(name))
    forbidden = (SearchSpace, OneOf, Stage)
    for module in network.modules():
        assert isinstance(module, nn.Module)
        for attribute, value in vars(module).items():
            assert not isinstance(value, forbidden), f"{type(module).__name__}.{attribute}"
    assert all(parameter.requires_grad for parameter in network.parameters())


@each_space
def test_build_notes_what_it_built(name: str) -> None:
    """A network knows its space, architecture and hash, and keeps a copy of the architecture."""
    space = small_space(name)
    architecture = space.sample(Random(0))
    network = space.build(architecture)
    assert network.space == name
    assert network.architecture == architecture
    assert network.architecture_hash == space.architecture_hash(architecture)
    assert network.num_classes == space.num_classes
    for value in architecture.values():
        if isinstance(value, list):
            value.clear()
    architecture.clear()
    space.check(network.architecture)


@each_space
def test_same_seed_same_network(name: str) -> None:
    """The random weights follow PyTorch's generator and nothing else."""
    space = small_space(name)
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        outputs.append(sampled_network(space)(images_for(name)))
    assert torch.equal(*outputs)


@each_space
def test_copies_compute_the_same(name: str) -> None:
    """`deepcopy` and `pickle` give networks of their own that compute the same."""
    network = sampled_network(small_space(name))
    images = images_for(name)
    expected = network(images)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(images), expected)
        assert twin.architecture_hash == network.architecture_hash
        addresses = {p.data_ptr() for p in network.parameters()}
        assert not addresses & {p.data_ptr() for p in twin.parameters()}


@each_space
def test_export(name: str) -> None:
    """`torch.export` gives the same logits, for another batch size too. FAULTS 66."""
    network = sampled_network(small_space(name))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (images_for(name, 2),), dynamic_shapes=({0: batch},))
    images = images_for(name, 3)
    with torch.no_grad():
        logits, expected = program.module()(images), network(images)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@each_space
def test_grey_images_and_one_class(name: str) -> None:
    """Other numbers of channels and classes are settings like others."""
    network = sampled_network(small_space(name, in_chans=1, num_classes=1))
    assert network(images_for(name, channels=1)).shape == (2, 1)


def test_choices_are_declared_once_for_each_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many spaces exist, a search in one does not declare its choices again."""
    declared: list[SearchSpace] = []
    declare = DARTS.choices

    def counted(self: DARTS) -> dict[str, Choice]:
        declared.append(self)
        return declare(self)

    monkeypatch.setattr(DARTS, "choices", counted)
    spaces = [small_space("DARTS", num_classes=classes) for classes in range(200)]
    for _ in range(3):
        for space in spaces:
            space.encode(space.mutate(space.sample(Random(0)), Random(0)))
    assert declared == spaces
