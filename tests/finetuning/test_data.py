"""What the network sees depends on the seed and the epoch, and on nothing else."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.digits import PREPROCESSING
from tests.finetuning.training import change
from zoo.errors import TrainingError
from zoo.evaluation.datasets import open_dataset
from zoo.finetuning.data import Augmented, EpochBatches, build_loader, split_by_class
from zoo.finetuning.recipe import Recipe
from zoo.preprocessing import build_train_transform


def batches(rank: int = 0, world_size: int = 1, epoch: int = 0, samples: int = 100, seed: int = 0):
    sampler = EpochBatches(samples, Recipe(batch_size=12, seed=seed), rank, world_size)
    sampler.epoch = epoch
    return sampler


def test_processes_share_each_batch() -> None:
    whole = list(batches())
    shares = [list(batches(rank, 3)) for rank in range(3)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(chain(*parts))
        assert {len(part) for part in parts} == {4}


def test_order_is_a_function_of_seed_and_epoch() -> None:
    assert list(batches()) == list(batches())
    assert len(list(batches())) == batches().steps_per_epoch == len(batches()) == 8
    orders = [
        [index for batch in sampler for _, index in batch]
        for sampler in (batches(), batches(epoch=1), batches(seed=1))
    ]
    assert all(len(set(order)) == 96 for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_an_epoch_goes_on_where_it_stopped() -> None:
    rest = batches()
    rest.first_step = 5
    assert list(rest) == list(batches())[5:]
    assert len(rest) == 3


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert [len(batch) for batch in batches(samples=7)] == [7]
    assert [len(batch) for batch in batches(samples=7, world_size=2)] == [3]


def test_the_last_smaller_batch_may_stay() -> None:
    def sizes(world_size: int = 1, **changes: Any) -> list[list[int]]:
        recipe = Recipe(batch_size=12, drop_last=False, **changes)
        samplers = [EpochBatches(101, recipe, rank, world_size) for rank in range(world_size)]
        assert all(len(list(each)) == each.steps_per_epoch == 9 for each in samplers)
        return [[len(batch) for batch in each][-2:] for each in samplers]

    assert sizes() == [[12, 5]]
    assert sizes(world_size=2) == [[6, 2]] * 2  # an equal share for each
    assert sizes(mixup=0.1) == [[12, 4]]  # pairs


def test_impossible_batch_sizes_are_refused() -> None:
    with pytest.raises(TrainingError, match="batch_size 12 must be a multiple of 5"):
        batches(world_size=5)
    with pytest.raises(TrainingError, match="batch_size 11 must be a multiple of 2"):
        EpochBatches(100, Recipe(batch_size=11, mixup=0.1), 0, 1)
    with pytest.raises(TrainingError, match="0 images, need at least 1"):
        batches(samples=0)


def test_images_do_not_depend_on_workers_or_on_what_came_before(digits: Path) -> None:
    transform = build_train_transform(
        PREPROCESSING, auto_augment="rand-m9-mstd0.5", color_jitter=0.3, random_erasing=0.5
    )
    dataset = Augmented(open_dataset(digits).select(range(30)), transform, seed=0)
    sampler = EpochBatches(30, change(batch_size=6), 0, 1)
    images = {}
    for workers in (0, 2):
        torch.manual_seed(workers)
        images[workers] = torch.cat([batch for batch, _ in build_loader(dataset, sampler, workers)])
    assert torch.equal(images[0], images[2])
    assert torch.equal(dataset[(0, 3)][0], dataset[(0, 3)][0])
    assert not torch.equal(dataset[(0, 3)][0], dataset[(1, 3)][0])


def test_split_takes_a_share_of_each_class() -> None:
    targets = [0] * 50 + [1] * 10 + [2] * 2 + [3]
    kept, held_out = split_by_class(targets, 0.2, seed=0)
    assert sorted(kept + held_out) == list(range(63))
    counts = [sum(targets[i] == label for i in held_out) for label in range(4)]
    assert counts == [10, 2, 1, 0]
    assert (kept, held_out) == split_by_class(targets, 0.2, seed=0)
    assert held_out != split_by_class(targets, 0.2, seed=1)[1]
