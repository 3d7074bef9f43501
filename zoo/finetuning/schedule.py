"""Phases of a training, and the optimizer and learning-rate schedule of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from zoo.errors import TrainingError, suggest
from zoo.finetuning.recipe import Recipe


class Phase(NamedTuple):
    """Epochs that share an optimizer: those of the head alone, or of the whole network."""

    head_only: bool
    first_epoch: int
    epochs: int


def find_phase(recipe: Recipe, epoch: int) -> Phase:
    """Return the phase that an epoch, counted from 0, belongs to."""
    if recipe.freeze_backbone:
        return Phase(True, 0, recipe.epochs)
    alone = min(recipe.head_only_epochs, recipe.epochs)
    if epoch < alone:
        return Phase(True, 0, alone)
    return Phase(False, alone, recipe.epochs - alone)


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return timm's optimizer over the trainable parameters, in layer groups if asked.

    Raises:
        TrainingError: timm has no such optimizer.
    """
    import timm.optim

    optim: Any = timm.optim  # its names are public, but not declared so

    try:
        return optim.create_optimizer_v2(
            model,
            opt=recipe.optimizer,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            layer_decay=recipe.layer_decay,
            filter_bias_and_bn=not recipe.decay_norms,
        )
    except ValueError as error:
        near = suggest(recipe.optimizer, optim.list_optimizers())
        raise TrainingError(f"recipe: optimizer {recipe.optimizer!r}: {error}.{near}") from error


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, phase: Phase, steps_per_epoch: int
) -> Any:
    """Return timm's scheduler; call `step_update` with the number of updates in the phase."""
    from timm.scheduler.scheduler_factory import create_scheduler_v2

    settings: dict[str, Any] = {
        "cosine": {"sched": "cosine"},
        "linear": {"sched": "poly", "decay_rate": 1.0},  # a polynomial of power 1
        "constant": {"sched": "step", "decay_rate": 1.0, "decay_epochs": 1},  # steps of factor 1
    }[recipe.schedule]
    scheduler, _ = create_scheduler_v2(
        optimizer,
        num_epochs=phase.epochs,
        warmup_epochs=min(recipe.warmup_epochs, phase.epochs),  # type: ignore[arg-type]
        warmup_lr=min(recipe.warmup_lr, recipe.lr),
        min_lr=min(recipe.min_lr, recipe.lr),
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
        **settings,
    )
    return scheduler
