"""A small network that is none of the zoo's, quick to export; and what its tests skip without."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.optimizing.records import shake
from zoo.records import Preprocessing

LABELS = ("ant", "bee", "cat", "dog", "elk")
SIDE = 12


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip a test where a package of an extra is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


needs_onnx = needs("onnx", "onnxscript", "onnxruntime")
needs_openvino = needs("onnx", "onnxscript", "openvino")


class PlainNetwork(nn.Module):
    """Convolution, norm, activation, linear layer; with what a network of the zoo carries."""

    def __init__(self, seed: int = 0, sign: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())
        shake(self.features[1])  # pyright: ignore[reportArgumentType]
        self.classifier = nn.Linear(8, len(LABELS))
        self.sign = sign  # neither `repr` nor the state dict tells
        self.preprocessing: Any = Preprocessing(resize=SIDE, crop=SIDE)
        self.labels, self.num_classes, self.in_chans = LABELS, len(LABELS), 3
        self.eval()
        with torch.no_grad():  # no class is better than the others, so that images decide
            self.classifier.bias -= self.forward(torch.randn(64, 3, SIDE, SIDE)).mean(0) * sign

    def forward(self, images: Tensor) -> Tensor:
        return self.sign * self.classifier(self.features(images).mean((2, 3)))


def plain_images(batch: int = 4, seed: int = 1) -> Tensor:
    """Return random images for a `PlainNetwork`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, SIDE, SIDE, generator=generator)
