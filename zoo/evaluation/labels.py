"""Variants of ImageNet-1k's validation set: other labels, other images, fewer classes.

- `real`: ImageNet-ReaL, the validation images with every class that people saw in them.
  An answer is right if it is one of these; images without any are left out.
  Source: Beyer et al. 2020, https://arxiv.org/abs/2006.07159.
- `v2`: ImageNetV2, new images in folders named 0 to 999 by class index.
  Source: Recht et al. 2019, https://arxiv.org/abs/1902.10811.
- `a`: ImageNet-A, hard photographs of 200 classes. Only these classes are judged: the
  highest of their logits is the answer.
  Source: Hendrycks et al. 2019, https://arxiv.org/abs/1907.07174.
- `r`: ImageNet-R, renditions (drawings, toys, …) of 200 other classes, judged in the same way.
  Source: Hendrycks et al. 2020, https://arxiv.org/abs/2006.16241.

Classes and labels are the files that timm ships.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import PurePath
from typing import NamedTuple

from zoo.errors import DatasetError, InvalidArgument, suggest
from zoo.evaluation.images import ImageClasses

# name → what it is called in records of accuracies
VARIANTS = {
    "real": "imagenet-real",
    "v2": "imagenetv2",
    "a": "imagenet-a",
    "r": "imagenet-r",
}


class LabelVariant(NamedTuple):
    """How the images of a variant are labelled.

    `folders` are the names of the class folders in the order of the network's outputs:
    open the data with `class_names=folders`. `classes` are the outputs that are judged, or
    None for all. With `is_multi` the file name of an image tells its labels.
    """

    name: str
    folders: tuple[str, ...]
    classes: tuple[int, ...] | None = None
    is_multi: bool = False

    @property
    def dataset(self) -> str:
        """What the variant is called in records of accuracies."""
        return VARIANTS[self.name]


@functools.cache
def find_variant(name: str) -> LabelVariant:
    """Return the variant `real`, `v2`, `a` or `r`.

    Raises:
        InvalidArgument: there is no such variant.
    """
    if name not in VARIANTS:
        raise InvalidArgument(
            f"labels: expected one of {', '.join(VARIANTS)}, got {name!r}.{suggest(name, VARIANTS)}"
        )
    folders = tuple(_read("imagenet_synsets.txt").split())
    if name == "real":
        return LabelVariant(name, folders, is_multi=True)
    if name == "v2":
        return LabelVariant(name, tuple(str(index) for index in range(len(folders))))
    indices = _read(f"imagenet_{name}_indices.txt").split()
    return LabelVariant(name, folders, tuple(int(index) for index in indices))


def detect_variant(class_names: Sequence[str]) -> LabelVariant | None:
    """Return the variant that has exactly these class folders; None when there is no such one."""
    found = set(class_names)
    for variant in map(find_variant, ("v2", "a", "r")):
        if found == _judged_folders(variant):
            return variant
    return None


def find_real_labels(images: ImageClasses) -> list[tuple[int, ...]]:
    """Return the ReaL labels of each image, none for some; the file name tells which it is.

    Raises:
        DatasetError: a file is not called like an image of the validation set.
    """
    labels = json.loads(_read("imagenet_real_labels.json"))
    found = []
    for index in range(len(images)):
        name = images.file_name(index)
        match = re.match(r"ILSVRC2012_val_(\d{8})", PurePath(name).name)
        if match is None or not 1 <= int(match[1]) <= len(labels):
            raise DatasetError(
                f"{images.name}: {name} is not called like an image of ImageNet's validation set "
                "(ILSVRC2012_val_00000001.JPEG …), so its ReaL labels cannot be found"
            )
        found.append(tuple(labels[int(match[1]) - 1]))
    return found


def _judged_folders(variant: LabelVariant) -> set[str]:
    if variant.classes is None:
        return set(variant.folders)
    return {variant.folders[index] for index in variant.classes}


def _read(name: str) -> str:
    return (resources.files("timm.data") / "_info" / name).read_text()
