"""The recipe as a file format."""

from __future__ import annotations

import msgspec
import pytest

from zoo.finetuning.recipe import Recipe, find_differences


def test_round_trip() -> None:
    recipe = Recipe(epochs=3, crop_scale=(0.5, 1.0), auto_augment="rand-m9", patience=2)
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe


@pytest.mark.parametrize(
    "text", ['{"epochs": 0}', '{"lr": 0}', '{"label_smoothing": 1}', '{"sched": "cosine"}']
)
def test_out_of_range_and_unknown_fields_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Recipe)


def test_differences_leave_out_what_changes_only_the_speed() -> None:
    assert find_differences(Recipe(), Recipe(workers=5)) == []
    assert find_differences(Recipe(), Recipe(lr=0.5, seed=1)) == [
        "lr: 0.001 -> 0.5",
        "seed: 0 -> 1",
    ]
