"""`Recipe`: every number that decides how a training goes, as one frozen record."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from zoo.records import PositiveInt, Record

Probability = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]


class Recipe(Record, frozen=True, kw_only=True):
    """Hyper-parameters of a training.

    `batch_size` counts all processes together. The learning rate warms up for
    `warmup_epochs` from `warmup_lr` to `lr` and then follows `schedule` down
    to `min_lr`, changing with every `schedule_step`; a long warm-up with "linear" is a
    one-cycle schedule. `layer_decay` multiplies the learning rate once per layer
    group, from the head down. For the first `head_only_epochs`, or always with
    `freeze_backbone`, only the head learns, with a schedule of its own; the
    backbone then is in eval mode and stays bit-identical. Biases and norms have
    weight decay only with `decay_norms`; `drop_last` leaves out the last, smaller
    batch of an epoch. `mixup` and `cutmix` are Beta distribution parameters, 0
    switches off. `patience` is the number of epochs without a better top-1 after
    which training stops.
    `val_fraction` of each class is held out when no validation data is given.
    """

    epochs: PositiveInt = 30
    batch_size: PositiveInt = 128
    drop_last: bool = True
    optimizer: str = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    momentum: Probability = 0.9
    layer_decay: Annotated[float, Meta(gt=0, le=1)] | None = None
    clip_grad: Positive | None = None
    decay_norms: bool = False

    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    schedule_step: Literal["update", "epoch"] = "update"
    warmup_epochs: NotNegative = 1.0
    warmup_lr: NotNegative = 1e-6
    min_lr: NotNegative = 0.0

    freeze_backbone: bool = False
    head_only_epochs: Annotated[int, Meta(ge=0)] = 0

    crop: Literal["auto", "padded", "resized"] = "auto"
    crop_scale: tuple[Probability, Probability] = (0.08, 1.0)
    horizontal_flip: Probability = 0.5
    auto_augment: str | None = None
    color_jitter: NotNegative = 0.0
    random_erasing: Probability = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    mixup_probability: Probability = 1.0
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    ema_decay: Annotated[float, Meta(gt=0, lt=1)] | None = None
    ema_warmup: bool = True

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    channels_last: bool = True
    workers: Annotated[int, Meta(ge=0)] | None = None

    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    patience: PositiveInt | None = None
    val_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.1


# Fields that change the speed of a training but not its numbers.
SPEED_FIELDS = ("workers",)


def find_differences(old: Recipe, new: Recipe) -> list[str]:
    """Return `field: old -> new` for each field that would change the numbers of a training."""
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return [
        f"{field}: {before[field]} -> {after[field]}"
        for field in Recipe.__struct_fields__
        if before[field] != after[field] and field not in SPEED_FIELDS
    ]
