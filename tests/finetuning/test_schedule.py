"""Phases, optimizer groups and learning rates."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.digits import build_network
from zoo.errors import TrainingError
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.schedule import Phase, build_optimizer, build_schedule, find_phase


def rates(recipe: Recipe, steps_per_epoch: int = 10) -> list[float]:
    optimizer = build_optimizer(build_network(), recipe)
    schedule = build_schedule(optimizer, recipe, find_phase(recipe, 0), steps_per_epoch)
    found = []
    for step in range(recipe.epochs * steps_per_epoch + 1):
        schedule.step_update(step)
        found.append(max(group["lr"] for group in optimizer.param_groups))
    return found


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_schedules_warm_up_and_end_where_they_should(schedule: str) -> None:
    recipe = Recipe(epochs=4, lr=0.5, warmup_epochs=1.5, warmup_lr=0.1, schedule=schedule)  # type: ignore[arg-type]
    found = rates(recipe)
    assert found[0] == pytest.approx(0.1)
    assert found[3] - found[2] == pytest.approx(0.4 / 15)
    assert max(found) <= 0.5
    ends = {"cosine": 0.0, "linear": 0.0, "constant": 0.5}
    assert found[-1] == pytest.approx(ends[schedule])
    if schedule == "linear":
        steps = {round(a - b, 9) for a, b in pairwise(found[15:])}
        assert steps == {0.0125}


def test_phases() -> None:
    assert find_phase(Recipe(epochs=5), 3) == Phase(False, 0, 5)
    recipe = Recipe(epochs=5, head_only_epochs=2)
    assert [find_phase(recipe, epoch) for epoch in (1, 2)] == [
        Phase(True, 0, 2),
        Phase(False, 2, 3),
    ]
    assert find_phase(Recipe(epochs=5, freeze_backbone=True), 4) == Phase(True, 0, 5)
    assert find_phase(Recipe(epochs=2, head_only_epochs=9), 1) == Phase(True, 0, 2)


def test_layers_learn_slower_the_deeper_they_are() -> None:
    network = build_network()
    optimizer = build_optimizer(network, Recipe(layer_decay=0.5))
    scale = {
        id(parameter): group["lr_scale"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert scale[id(network.classifier.weight)] == 1.0  # type: ignore[union-attr]
    assert scale[id(network.conv_stem.weight)] < 0.1  # type: ignore[union-attr]
    decays = {group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {0.0, 0.05}  # none for biases and norms
    for recipe in (Recipe(decay_norms=True), Recipe(decay_norms=True, layer_decay=0.5)):
        groups = build_optimizer(network, recipe).param_groups
        assert {group["weight_decay"] for group in groups} == {0.05}


def test_unknown_optimizers_are_refused_with_a_suggestion() -> None:
    with pytest.raises(TrainingError, match=r"optimizer 'adamwq'.* Did you mean .*'adamw'"):
        build_optimizer(build_network(), Recipe(optimizer="adamwq"))
