"""Training as timm's train script puts it together: its loaders, optimizer and schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from timm.optim._optim_factory import create_optimizer_v2
from timm.scheduler.scheduler_factory import create_scheduler_v2
from timm.utils.metrics import accuracy
from torch import nn

from zoo.finetuning.recipe import Recipe
from zoo.records import Preprocessing


def train_with_timm(
    model: nn.Module, data: Path, preprocessing: Preprocessing, recipe: Recipe
) -> list[float]:
    """Train on the class folders in `data`/train; return top-1 percent on `data`/val by epoch."""
    torch.manual_seed(recipe.seed)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    common: dict[str, Any] = {
        "input_size": (3, preprocessing.crop, preprocessing.crop),
        "batch_size": recipe.batch_size,
        "use_prefetcher": False,
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "num_workers": 1,
        "persistent_workers": True,
        "device": torch.device("cpu"),
    }
    images: Any = create_dataset("", root=str(data / "train"), is_training=True)
    held_out: Any = create_dataset("", root=str(data / "val"))
    train = create_loader(
        images,
        is_training=True,
        scale=recipe.crop_scale,
        hflip=recipe.horizontal_flip,
        color_jitter=0.0,
        **common,
    )
    crop_share = preprocessing.crop / preprocessing.resize
    val = create_loader(held_out, crop_pct=crop_share, **common)
    optimizer, scheduler = build_optimizer(model, recipe, updates_per_epoch=len(train))
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    history, updates = [], 0
    for _ in range(recipe.epochs):
        model.train()
        for images, targets in train:
            scheduler.step_update(updates)
            images = images.contiguous(memory_format=torch.channels_last)
            loss_function(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
        history.append(_validate(model, val))
    return history


def build_optimizer(model: nn.Module, recipe: Recipe, updates_per_epoch: int) -> tuple[Any, Any]:
    """Return timm's optimizer and schedule for a recipe; the schedule steps at every update."""
    optimizer = create_optimizer_v2(
        model, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=recipe.schedule,
        num_epochs=recipe.epochs,
        warmup_epochs=int(recipe.warmup_epochs),
        warmup_lr=recipe.warmup_lr,
        min_lr=recipe.min_lr,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    assert scheduler is not None
    return optimizer, scheduler


@torch.inference_mode()
def _validate(model: nn.Module, loader: Any) -> float:
    model.eval()
    right, samples = 0.0, 0
    for images, targets in loader:
        images = images.contiguous(memory_format=torch.channels_last)
        right += accuracy(model(images), targets)[0].item() * len(targets) / 100
        samples += len(targets)
    return 100 * right / samples
