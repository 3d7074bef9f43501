"""Training data whose order and augmentation depend on the seed and the epoch alone.

Neither the number of data-loading processes nor an interruption changes what
the network sees: batches are a function of (seed, epoch), augmentation is one
of (seed, epoch, image).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from zoo.errors import TrainingError
from zoo.evaluation.datasets import has_split, open_dataset
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.processes import find_worker_count
from zoo.finetuning.interrupt import ignore_signals
from zoo.finetuning.recipe import Recipe
from zoo.preprocessing import build_train_transform
from zoo.records import Preprocessing

# First number of each seed, so that streams of random numbers never coincide.
ORDER, IMAGE, STEP, SPLIT = range(4)

EpochAndIndex = tuple[int, int]


def open_both(train_data: Any, val_data: Any, recipe: Recipe) -> tuple[ImageClasses, ImageClasses]:
    """Return training and validation images.

    Without `val_data` these are in a validation folder beside the training
    folder, or else a part of each class of the training images.
    """
    train = open_dataset(train_data, split="train")
    if val_data is None and has_split(train_data, "validation"):
        val_data = train_data
    if val_data is not None:
        return train, open_dataset(val_data, split="validation")
    kept, held_out = split_by_class(train.find_targets(), recipe.val_fraction, recipe.seed)
    return train.select(kept), train.select(held_out)


class Augmented(Dataset):
    """Images by (epoch, index), each transformed with random numbers of its own."""

    def __init__(self, source: Any, transform: Callable[[Any], Tensor], seed: int) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: EpochAndIndex) -> tuple[Tensor, int]:
        epoch, index = key
        image, target = self.source[index][:2]
        _seed_cpu(IMAGE, self.seed, epoch, index)
        return self.transform(image), target


class EpochBatches(Sampler[list[EpochAndIndex]]):
    """The batches of one process: an equal share of each global batch, in shuffled order.

    Set `epoch` and `first_step` before iterating. The last, smaller batch is left out
    if the recipe says so; a data set smaller than a batch is one batch.
    """

    def __init__(self, samples: int, recipe: Recipe, rank: int, world_size: int) -> None:
        multiple = world_size * (2 if recipe.mixup or recipe.cutmix else 1)  # mixup needs pairs
        if recipe.batch_size % multiple:
            raise TrainingError(
                f"recipe: batch_size {recipe.batch_size} must be a multiple of {multiple} "
                f"({world_size} processes; mixup and cutmix need pairs)"
            )
        self.batch_size = min(recipe.batch_size, samples // multiple * multiple)
        if not self.batch_size:
            raise TrainingError(f"training data: {samples} images, need at least {multiple}")
        self.samples, self.seed = samples, recipe.seed
        self.samples_per_epoch = samples - samples % (
            self.batch_size if recipe.drop_last else multiple
        )
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_step = 0

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.samples_per_epoch / self.batch_size)

    def __len__(self) -> int:
        return self.steps_per_epoch - self.first_step

    def __iter__(self) -> Iterator[list[EpochAndIndex]]:
        epoch = self.epoch
        order = np.random.default_rng((ORDER, self.seed, epoch)).permutation(self.samples)
        order = order[: self.samples_per_epoch].tolist()
        for step in range(self.first_step, self.steps_per_epoch):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [(epoch, index) for index in batch[self.rank :: self.world_size]]


def build_augmentation(preprocessing: Preprocessing, recipe: Recipe) -> Callable[[Any], Tensor]:
    """Return the training transform of a recipe, to 8-bit pixels where that is possible.

    Raises:
        TrainingError: timm cannot read the policy in `auto_augment`.
    """
    try:
        return build_train_transform(
            preprocessing,
            crop=recipe.crop,
            scale=recipe.crop_scale,
            horizontal_flip=recipe.horizontal_flip,
            auto_augment=recipe.auto_augment,
            color_jitter=recipe.color_jitter,
            random_erasing=recipe.random_erasing,
            as_pixels=True,
        )
    except (AssertionError, KeyError) as error:  # how timm refuses a policy it cannot read
        raise TrainingError(f"recipe: auto_augment {recipe.auto_augment!r} ({error})") from error


def build_loader(dataset: Augmented, batches: EpochBatches, workers: int | None) -> DataLoader:
    """Return a loader of (images, targets) of one process."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=find_worker_count() if workers is None else workers,
        worker_init_fn=ignore_signals,
        pin_memory=torch.cuda.is_available(),
    )


def build_mix(recipe: Recipe, num_classes: int) -> Any:
    """Return timm's mixup and cutmix of (images, targets), or None when both are off."""
    from timm.data.mixup import Mixup

    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        prob=recipe.mixup_probability,
        label_smoothing=recipe.label_smoothing,
        num_classes=num_classes,
    )


def split_by_class(targets: Sequence[int], fraction: float, seed: int) -> tuple[list, list]:
    """Return (training, validation) indices; each class with two images or more is in both."""
    generator = np.random.default_rng((SPLIT, seed))
    held_out: list[int] = []
    classes = np.asarray(targets)
    for label in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == label))
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out += members[:count].tolist()
    kept = np.setdiff1d(np.arange(len(classes)), held_out)
    return kept.tolist(), sorted(held_out)


def seed_random_numbers(*key: int) -> None:
    """Seed Python, numpy and torch, on all devices, from a tuple of numbers."""
    python, numpy, everywhere = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(python)
    np.random.seed(numpy)
    torch.manual_seed(everywhere)


def _seed_cpu(*key: int) -> None:
    # As above without the other devices: 10 µs instead of 140 µs, which counts once per image.
    python, numpy, cpu = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(python)
    np.random.seed(numpy)
    torch.default_generator.manual_seed(cpu)
