"""NAS-Bench-201's training by torch and torchvision alone, to see whether the zoo's differs.

Source: D-X-Y/AutoDL-Projects at f46486e, `exps/NAS-Bench-201/functions.py` and
`xautodl/datasets/get_dataset_with_transform.py`: flip, padded crop, SGD, a learning rate that
falls by a cosine from epoch to epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from zoo.finetuning.recipe import Recipe
from zoo.records import Preprocessing


class Decoded(Dataset):
    """Images decoded once and kept, a transform for each time one is asked for."""

    def __init__(self, images: Any, transform: Callable[[Image.Image], Any]) -> None:
        self.kept = [(image.convert("RGB"), target) for image, target, *_ in images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, target = self.kept[index]
        return self.transform(image), target


def train_plainly(
    network: nn.Module, train: Any, test: Any, *, preprocessing: Preprocessing, recipe: Recipe
) -> Iterator[dict[str, Any]]:
    """Train in place; yield each epoch's learning rate, training loss and test accuracy."""
    to_input = [
        transforms.ToTensor(),
        transforms.Normalize(preprocessing.mean, preprocessing.std),
    ]
    augmented = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(recipe.horizontal_flip),
            transforms.RandomCrop(preprocessing.crop, padding=4),
            *to_input,
        ]
    )
    torch.manual_seed(recipe.seed)
    batches = DataLoader(Decoded(train, augmented), recipe.batch_size, shuffle=True)
    test_batches = DataLoader(Decoded(test, transforms.Compose(to_input)), recipe.batch_size)
    optimizer = torch.optim.SGD(
        network.parameters(),
        recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        lr = recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
        optimizer.param_groups[0]["lr"] = lr
        network.train()
        losses = []
        for images, targets in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(images))
        correct = _count_correct(network, test_batches)
        yield {
            "epoch": epoch + 1,
            "lr": round(lr, 6),
            "train_loss": round(sum(losses) / len(train), 6),
            "val_top1_percent": round(100 * correct / len(test), 4),
            "seconds": round(time.perf_counter() - started, 1),
        }


@torch.inference_mode()
def _count_correct(network: nn.Module, batches: DataLoader) -> int:
    network.eval()
    return sum(int((network(images).argmax(1) == targets).sum()) for images, targets in batches)
