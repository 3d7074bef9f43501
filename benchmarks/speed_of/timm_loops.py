"""One pass over images, put together as timm's validate and train scripts do by default.

Contiguous layout, eager, without mixed precision, with the prefetcher, which normalises batches.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from timm.data.config import resolve_data_config
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from timm.utils.metrics import AverageMeter, accuracy
from timm_loading import open_for_validation
from timm_training import build_optimizer
from torch import nn

from zoo.finetuning.recipe import Recipe

CPU = torch.device("cpu")


@torch.inference_mode()
def evaluate_with_timm(network: nn.Module, data: Path, batch_size: int, workers: int) -> float:
    """Return images per second, from opening the data to the accuracy."""
    network.eval()
    config = resolve_data_config({}, model=network, use_test_size=True)
    started = time.perf_counter()
    _, loader = open_for_validation(data, config, batch_size=batch_size, workers=workers)
    loss_function = nn.CrossEntropyLoss()
    losses, top1, top5 = AverageMeter(), AverageMeter(), AverageMeter()
    for images, targets in loader:
        logits = network(images)
        losses.update(loss_function(logits, targets).item(), len(images))
        acc1, acc5 = accuracy(logits, targets, topk=(1, 5))
        top1.update(acc1.item(), len(images))
        top5.update(acc5.item(), len(images))
    return top1.count / (time.perf_counter() - started)


def train_with_timm(network: nn.Module, data: Path, recipe: Recipe) -> float:
    """Return images per second of one epoch of updates."""
    config = resolve_data_config({}, model=network)
    dataset: Any = create_dataset("", root=str(data), is_training=True, input_img_mode="RGB")
    loader: Any = create_loader(
        dataset,
        input_size=config["input_size"],
        batch_size=recipe.batch_size,
        is_training=True,
        scale=recipe.crop_scale,
        hflip=recipe.horizontal_flip,
        color_jitter=recipe.color_jitter,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        num_workers=recipe.workers or 0,
        device=CPU,
    )
    optimizer, scheduler = build_optimizer(network, recipe, updates_per_epoch=len(loader))
    loss_function, losses = nn.CrossEntropyLoss(), AverageMeter()
    network.train()
    started = time.perf_counter()
    for update, (images, targets) in enumerate(loader):
        loss = loss_function(network(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.update(loss.item(), len(images))
        scheduler.step_update(update + 1, metric=losses.avg)
    return losses.count / (time.perf_counter() - started)
