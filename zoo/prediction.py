"""From an image file and a model name to labels and probabilities."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zoo.errors import DatasetError, InvalidArgument
from zoo.manifest import find_entry
from zoo.networks.network import Network
from zoo.preprocessing import build_transform
from zoo.registry import class_names, load_searched_model


class Classifier(NamedTuple):
    """A network with what it needs to answer in words."""

    network: Network
    transform: Callable[[Any], torch.Tensor]
    labels: tuple[str, ...]


def load_classifier(name: str, **options: Any) -> Classifier:
    """Return the model with its transform and class names; options as `load_searched_model`.

    Raises:
        ZooError: one of its kinds.
    """
    entry = find_entry(name)
    network = load_searched_model(name, **options)
    return Classifier(network, build_transform(entry.preprocessing), class_names(entry.record))


def predict(classifier: Classifier, image: Path | Any, top: int = 5) -> list[tuple[str, float]]:
    """Return the `top` most probable labels of an image file or Pillow image, best first.

    Raises:
        DatasetError: the file is missing or no image.
        InvalidArgument: `top` is below 1.
    """
    if top < 1:
        raise InvalidArgument(f"top={top}: expected at least 1")
    picture = open_image(image) if isinstance(image, (str, Path)) else image
    # A network that another runtime runs has no parameters, but a buffer.
    tensors = itertools.chain(classifier.network.parameters(), classifier.network.buffers())
    device = next(tensors).device
    with torch.inference_mode():
        logits = classifier.network(classifier.transform(picture)[None].to(device))
    probabilities, indices = logits[0].softmax(0).topk(min(top, logits.shape[1]))
    return [
        (classifier.labels[index], probability)
        for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True)
    ]


def open_image(path: str | Path) -> Any:
    """Return a decoded Pillow image.

    Raises:
        DatasetError: the file is missing, truncated, or no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{path}: not a readable image: {error}") from None
    return image
