"""ImageNet-ReaL, V2, A and R: the counts of timm's own computation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.digits import write_tar
from zoo.errors import DatasetError, InvalidArgument
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.labels import detect_variant, find_real_labels, find_variant
from zoo.evaluation.named import open_for
from zoo.manifest import find_entry
from zoo.records import Preprocessing

PREPROCESSING = Preprocessing(resize=16, crop=16, mean=(0, 0, 0), std=(1, 1, 1))
CONFIG = {
    "input_size": (3, 16, 16),
    "interpolation": "bilinear",
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "crop_pct": 1.0,
    "crop_mode": "center",
}
WNIDS = find_variant("real").folders


def colours_of(classes: Sequence[int]) -> np.ndarray:
    """Return a colour for each class: its three digits, and a little more to avoid ties."""
    digits = np.stack(np.unravel_index(np.arange(1000), (10, 10, 10)), axis=1)
    uneven = np.random.default_rng(2).uniform(-3, 3, size=digits.shape)
    return (digits * 25 + 15 + uneven)[list(classes)]


class Nearest(nn.Module):
    """A classifier of 1,000 colours: the logits are how near they are to the image's."""

    def __init__(self) -> None:
        super().__init__()
        colours = torch.tensor(colours_of(range(1000)) / 255, dtype=torch.float32)
        self.weight = nn.Parameter(2 * colours.T)
        self.bias = nn.Parameter(-colours.square().sum(dim=1))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) @ self.weight + self.bias


def write_images(root: Path, folders: Sequence[str], classes: Sequence[int], names: list) -> None:
    """Write an image for each class, in a colour that is often taken for a neighbour's."""
    random = np.random.default_rng(0)
    noise = random.normal(scale=11, size=(len(classes), 3))
    colours = (colours_of(classes) + noise).clip(0, 255).astype(np.uint8)
    for folder, colour, name in zip(folders, colours, names, strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), tuple(colour.tolist())).save(root / folder / name)


@pytest.mark.parametrize("name", ["a", "r"])
def test_subsets_are_judged_on_their_classes_only(
    tmp_path: Path, timm_agreement: Any, name: str
) -> None:
    variant = find_variant(name)
    assert variant.classes is not None and len(variant.classes) == 200
    folders = [WNIDS[index] for index in variant.classes]
    write_images(tmp_path / "data", folders, variant.classes, ["1.png"] * 200)
    timm = timm_agreement.evaluate_with_timm(
        Nearest(), tmp_path / "data", CONFIG, valid_labels=list(variant.classes)
    )
    assert 20 < timm.top1_count < 180 and timm.top1_count < timm.top5_count
    for data in (tmp_path / "data", write_tar(tmp_path / "data", tmp_path / "data.tar")):
        images, found = open_for([find_entry("mobilenetv3-small-050")], data, None)
        assert found == variant  # the folders tell
        measured = evaluate(
            Nearest(), images, preprocessing=PREPROCESSING, labels=variant, workers=0
        )
        assert (measured.top1_count, measured.top5_count) == (timm.top1_count, timm.top5_count)
        assert measured.samples == 200
        assert sum(measured.class_samples[index] for index in variant.classes) == 200
    unmasked = evaluate(
        Nearest(),
        open_dataset(tmp_path / "data", class_names=WNIDS),
        preprocessing=PREPROCESSING,
        workers=0,
    )
    assert unmasked.top1_count < timm.top1_count


def test_the_classes_are_those_of_timm_s_lists() -> None:
    for name in ("a", "r"):
        info = resources.files("timm.data") / "_info" / f"imagenet_{name}_synsets.txt"
        classes = find_variant(name).classes
        assert classes is not None
        assert [WNIDS[index] for index in classes] == info.read_text().split()


def test_v2_folders_are_class_indices(tmp_path: Path, timm_agreement: Any) -> None:
    folders = [str(index) for index in range(1000)]
    write_images(tmp_path, folders, range(1000), ["1.png"] * 1000)
    timm = timm_agreement.evaluate_with_timm(Nearest(), tmp_path, CONFIG)
    images, variant = open_for([find_entry("mobilenetv3-small-050")], tmp_path, None)
    assert variant is not None and variant.name == "v2"
    measured = evaluate(Nearest(), images, preprocessing=PREPROCESSING, labels=variant, workers=0)
    assert (measured.top1_count, measured.top5_count) == (timm.top1_count, timm.top5_count)
    assert 200 < timm.top1_count < 900


def test_v2_folders_keep_their_index_when_some_are_missing(tmp_path: Path) -> None:
    write_images(tmp_path, ["7", "10", "999"], [7, 10, 999], ["1.png"] * 3)
    images = open_dataset(tmp_path, class_names=find_variant("v2").folders)
    assert images.find_targets() == [7, 10, 999]
    assert detect_variant(["7", "10", "999"]) is None


def test_real_labels_accept_several_classes_and_leave_images_out(
    tmp_path: Path, timm_agreement: Any
) -> None:
    content = resources.files("timm.data") / "_info" / "imagenet_real_labels.json"
    real = json.loads(content.read_text())
    numbers = sorted(np.random.default_rng(1).choice(50_000, 300, replace=False).tolist())
    assert any(not real[number] for number in numbers)
    assert any(len(real[number]) > 1 for number in numbers)
    classes = [real[number][-1] if real[number] else number % 1000 for number in numbers]
    folders = [WNIDS[(real[n][0] if real[n] else n % 1000)] for n in numbers]
    names = [f"ILSVRC2012_val_{number + 1:08d}.JPEG" for number in numbers]
    write_images(tmp_path, folders, classes, names)
    timm = timm_agreement.evaluate_with_timm(Nearest(), tmp_path, CONFIG, real_labels=True)
    entries = [find_entry("mobilenetv3-small-050")]
    images, variant = open_for(entries, tmp_path, "real")
    assert variant is not None
    measured = evaluate(Nearest(), images, preprocessing=PREPROCESSING, labels=variant, workers=0)
    assert measured.samples == sum(bool(real[number]) for number in numbers) < 300
    assert measured.top1_percent == pytest.approx(timm.real_percents[1], abs=1e-9)
    assert measured.top5_percent == pytest.approx(timm.real_percents[5], abs=1e-9)
    single = evaluate(Nearest(), images, preprocessing=PREPROCESSING, workers=0)
    assert single.top1_count != measured.top1_count


def test_real_labels_need_the_names_of_the_validation_set(tmp_path: Path) -> None:
    names = ["ILSVRC2012_val_00000001.JPEG", "cat.png", "ILSVRC2012_val_00050001.JPEG"]
    write_images(tmp_path, WNIDS[:3], range(3), names)
    images = open_dataset(tmp_path)
    assert len(find_real_labels(images.select([0]))) == 1
    for index in (1, 2):
        with pytest.raises(DatasetError, match=f"{names[index]} is not called like an image of"):
            find_real_labels(images.select([index]))


def test_variants_that_do_not_fit_say_so(tmp_path: Path, digits: Path) -> None:
    imagenet, cifar = find_entry("mobilenetv3-small-050"), find_entry("nb201-resnet-like")
    with pytest.raises(InvalidArgument, match=r"expected one of real, v2, a, r, got 'b'"):
        open_for([imagenet], digits, "b")
    with pytest.raises(DatasetError, match="outputs of ImageNet-1k, which nb201-resnet-like"):
        open_for([imagenet, cifar], digits, "a")
    with pytest.raises(DatasetError, match=r"10 class\(es\) that are not among the 1000"):
        open_for([imagenet], digits, "a")
    with pytest.raises(DatasetError, match=r"torch/image_folder: labels a need images in class f"):
        open_for([imagenet], "torch/image_folder", "a", root=digits)
    assert open_for([imagenet], digits, None)[1] is None
    write_images(tmp_path, WNIDS[:3], range(3), ["1.png"] * 3)
    assert open_for([imagenet], tmp_path, None)[1] is None  # part of every variant: not told
