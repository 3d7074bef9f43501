"""Several models at once: each image is decoded once, transformed once for equal preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from tests.digits import PREPROCESSING, build_network
from zoo.errors import DatasetError, VerificationError
from zoo.evaluation import panel
from zoo.evaluation.accuracy import classify, evaluate, evaluate_many
from zoo.evaluation.answers import Answers, measure
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.images import ImageClasses
from zoo.preprocessing import build_transform

DARKER = msgspec.structs.replace(PREPROCESSING, mean=(0.7, 0.7, 0.7))
SMALLER = msgspec.structs.replace(PREPROCESSING, resize=28, crop=24)


def networks() -> list[nn.Module]:
    """Return three networks with different weights."""
    made = []
    for seed in range(3):
        network = build_network()
        torch.manual_seed(seed)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
        made.append(network)
    return made


def test_each_model_gets_what_it_gets_alone(digits: Path) -> None:
    images = open_dataset(digits).select(range(0, 123, 2))
    candidates = list(zip(networks(), (PREPROCESSING, SMALLER, DARKER), strict=True))
    together = evaluate_many(candidates, images, batch_size=9, workers=0)
    for (network, preprocessing), found in zip(candidates, together, strict=True):
        alone = evaluate(network, images, preprocessing=preprocessing, workers=0)
        assert msgspec.structs.replace(found, images_per_second=0.0) == msgspec.structs.replace(
            alone, images_per_second=0.0
        )


def test_images_are_decoded_once_and_transformed_once(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, transformed = [], []
    read = ImageClasses._read

    def count_read(self: ImageClasses, position: int) -> Any:
        decoded.append(position)
        return read(self, position)

    def count_transforms(preprocessing: Any, **options: Any) -> Any:
        transform = build_transform(preprocessing, **options)

        def counted(image: Any) -> torch.Tensor:
            transformed.append(preprocessing)
            return transform(image)

        return counted

    monkeypatch.setattr(ImageClasses, "_read", count_read)
    monkeypatch.setattr(panel, "build_transform", count_transforms)
    images = open_dataset(digits).select(range(12))
    equal = msgspec.structs.replace(PREPROCESSING)
    candidates = zip([*networks(), build_network()], (PREPROCESSING, DARKER, equal, DARKER))  # noqa: B905
    classify(list(candidates), images, workers=0)
    assert len(decoded) == 12
    assert transformed.count(PREPROCESSING) == transformed.count(DARKER) == 12
    assert len(transformed) == 24


def test_answers_are_in_the_order_of_the_data(digits: Path) -> None:
    images = open_dataset(digits)
    (answers,) = classify([(build_network(), PREPROCESSING)], images, batch_size=50, workers=1)
    assert answers.targets.tolist() == images.find_targets()
    transform, network = build_transform(PREPROCESSING), build_network().eval()
    for index in (0, 60, 122):
        with torch.inference_mode():
            logits = network(transform(images[index][0])[None])
        assert answers.predictions[index].tolist() == logits[0].topk(5).indices.tolist()


def test_only_some_classes_are_judged(digits: Path) -> None:
    classes = (1, 4, 7, 8, 9, 2)
    images = open_dataset(digits)
    of_these = [i for i, target in enumerate(images.find_targets()) if target in classes]
    network = networks()[0]
    candidate = (network, PREPROCESSING)
    (answers,) = classify([candidate], images.select(of_these), classes=classes, workers=0)
    transform = build_transform(PREPROCESSING)
    inputs = torch.stack([transform(images[index][0]) for index in of_these])
    with torch.inference_mode():
        logits = network.eval()(inputs)
    masked = torch.full_like(logits, -torch.inf)
    masked[:, list(classes)] = logits[:, list(classes)]
    assert torch.equal(answers.predictions, masked.topk(5).indices)
    with pytest.raises(DatasetError, match="class index 0 in the data is not among the 6 that are"):
        classify([candidate], images, classes=classes, workers=0)


def test_any_of_several_labels_is_right() -> None:
    answers = Answers(
        targets=torch.tensor([0, 1, 2, 3]),
        predictions=torch.tensor(
            [[7, 1, 2, 3, 4], [1, 0, 2, 3, 4], [5, 6, 7, 8, 9], [3, 1, 2, 5, 4]]
        ),
        num_classes=10,
        images_per_second=1.0,
    )
    found = measure(answers, [(0, 7), (8, 4), (), (9,)])
    assert (found.samples, found.top1_count, found.top5_count) == (3, 1, 2)
    assert found.class_samples == (1, 1, 0, 1, 0, 0, 0, 0, 0, 0)
    with pytest.raises(DatasetError, match="none of the images has a label"):
        measure(answers, [()] * 4)


def test_nan_of_one_model_leaves_the_answers_of_the_others(digits: Path) -> None:
    good, broken = networks()[:2]
    nn.init.constant_(next(broken.parameters()), float("nan"))
    images = open_dataset(digits).select(range(10))
    first, second = classify([(good, PREPROCESSING), (broken, PREPROCESSING)], images, workers=0)
    assert measure(first).samples == 10
    with pytest.raises(VerificationError, match="NaN or infinity for 10 of 10 images"):
        measure(second)
