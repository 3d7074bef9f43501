"""Small real data, scikit-learn's handwritten digits, and a network that learns them in seconds."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from zoo.records import Preprocessing

PREPROCESSING = Preprocessing(resize=32, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def write_digits(root: Path, first: int, last: int) -> Path:
    """Write digits `first` to `last` as 16 × 16 PNG files in folders digit0 to digit9."""
    digits: Any = load_digits()
    for index in range(first, last):
        folder = root / f"digit{digits.target[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[index] * 15.9).astype("uint8")
        Image.fromarray(pixels).resize((16, 16)).save(folder / f"{index:04}.png")
    return root


def write_tar(folder: Path, path: Path, prefix: str = "") -> Path:
    """Pack class folders into an uncompressed tar file."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*.*")):
            tar.add(file, f"{prefix}{file.relative_to(folder)}")
    return path


def build_network(num_classes: int = 10) -> nn.Module:
    """Return a tiny network with batch norm and dropout; the same weights at every call."""
    torch.manual_seed(0)
    return timm.create_model("test_efficientnet", num_classes=num_classes, drop_rate=0.1)
