"""One small training; also `python -m tests.finetuning.training DATA OUT [field=value …]`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch

from tests.digits import PREPROCESSING, build_network
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.run import TrainingResult, train_network

RECIPE = Recipe(
    epochs=3,
    batch_size=48,
    lr=2e-3,
    warmup_epochs=0.5,
    horizontal_flip=0.0,
    auto_augment="rand-m3-n1",
    random_erasing=0.2,
    mixup=0.1,
    label_smoothing=0.05,
    ema_decay=0.99,
    head_only_epochs=1,
    workers=0,
)


def train(
    data: Path,
    out_dir: Path,
    recipe: Recipe = RECIPE,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> TrainingResult:
    """Train the small network on the digits."""
    return train_network(
        options.pop("model", None) or build_network(),
        options.pop("train_data", data),
        options.pop("val_data", data),
        preprocessing=PREPROCESSING,
        recipe=recipe,
        out_dir=out_dir,
        progress=progress,
        **options,
    )


def change(**fields: Any) -> Recipe:
    """Return the small recipe with other fields."""
    return msgspec.structs.replace(RECIPE, **fields)


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = [argument.split("=") for argument in sys.argv[3:]]
    fields = {field: msgspec.json.decode(value) for field, value in settings}
    train(Path(sys.argv[1]), Path(sys.argv[2]), change(**fields), print)
