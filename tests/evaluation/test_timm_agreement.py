"""The zoo's counts are timm's, image for image, with the same file of weights."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data.config import resolve_data_config

import zoo
from tests.shared_material import shared
from zoo.evaluation.accuracy import classify
from zoo.evaluation.datasets import open_dataset
from zoo.manifest import find_entry
from zoo.preprocessing import build_transform

SAMPLE = "data/imagenet1k-sample/val.tar"


@pytest.fixture(scope="module")
def some_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tar with the first 80 images of the ImageNet sample."""
    path = tmp_path_factory.mktemp("sample") / "val.tar"
    with tarfile.open(shared(SAMPLE)) as whole, tarfile.open(path, "w") as part:
        for member in itertools.islice((m for m in whole if m.isfile()), 80):
            part.addfile(member, whole.extractfile(member))
    return path


def check(rows: dict[str, dict[str, Any]], samples: int) -> None:
    for row in rows.values():
        assert row["zoo_counts"] == row["timm_counts"], row
        assert row["images_with_another_best_answer"] == 0, row
        assert row["images_with_another_answer_among_five"] == 0, row
        assert row["samples"] == samples
        top1, top5 = row["zoo_counts"]
        assert 0.1 * samples < top1 < top5 < samples  # both kinds of answers occur


def test_some_images(timm_agreement: Any, some_images: Path, tmp_path: Path) -> None:
    names = ["tinynet-e", "mobilenetv3-small-minimal-100-tf"]
    check(timm_agreement.compare(names, some_images, tmp_path), 80)


@pytest.mark.slow
def test_all_images(timm_agreement: Any, tmp_path: Path) -> None:
    check(timm_agreement.compare(list(timm_agreement.PAIRS), shared(SAMPLE), tmp_path), 1000)


def test_inputs_and_logits_are_equal_bit_for_bit(
    timm_agreement: Any, some_images: Path, tmp_path: Path
) -> None:
    """Without timm's prefetcher, which normalises batches, there is no difference to round away."""
    name, images = "tinynet-e", open_dataset(some_images).select(range(16))
    path = timm_agreement.make_weights(name, images, tmp_path / "weights.safetensors")
    theirs = timm.create_model(timm_agreement.PAIRS[name], checkpoint_path=str(path)).eval()
    ours = zoo.load_searched_model(name, checkpoint=path)
    config = resolve_data_config({}, model=theirs, use_test_size=True)
    preprocessing = find_entry(name).preprocessing
    timm_transform = timm.data.create_transform(**config)
    inputs = torch.stack([build_transform(preprocessing)(image) for image, _ in images])
    assert torch.equal(inputs, torch.stack([timm_transform(image) for image, _ in images]))
    inputs = inputs.contiguous(memory_format=torch.channels_last)  # the zoo's own choice
    with torch.inference_mode():
        assert torch.equal(ours(inputs), theirs(inputs))
    found = timm_agreement.evaluate_with_timm(theirs, some_images, config, prefetcher=False)
    (answers,) = classify([(ours, preprocessing)], open_dataset(some_images), workers=0)
    assert torch.equal(found.predictions, answers.predictions)
