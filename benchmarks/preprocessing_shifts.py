"""What commonly shifts an accuracy: each thing done wrong on purpose, compared image by image.

`python benchmarks/preprocessing_shifts.py --imagenet val.tar --cifar10 test.tar --out FILE`
(needs opencv-python-headless and simplejpeg beside the zoo)

The same network looks at the same images twice, prepared as its record says and
prepared wrongly. Pairs tell far more than two percents: an image that both get right
or both get wrong says nothing about the change, and does not widen its interval.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from environment import write_result
from torch import Tensor, nn
from wrong_ways import PACKAGES, Variant, batch_norm_variants, image_variants

import zoo
from zoo.cli.demo import EMBEDDED
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.measured import Z_95, wilson_interval_percent
from zoo.manifest import find_entry
from zoo.preprocessing import build_transform, describe
from zoo.records import Preprocessing


def read_files(images: ImageClasses) -> Iterator[bytes]:
    """Yield the file of each image, not decoded."""
    for position in images.indices:
        file = images.source.reader[position][0]
        with file:
            yield file.read()


@torch.inference_mode()
def predict(network: nn.Module, variant: Variant, files: Iterator[bytes]) -> Tensor:
    """Return the five best classes of each image: (images, 5)."""
    network = variant.network(network).to(variant.dtype)
    best: list[Tensor] = []
    batch: list[Tensor] = []

    def run() -> None:
        inputs = torch.stack(batch).to(variant.dtype, memory_format=torch.channels_last)
        best.append(network(inputs).topk(5).indices)
        batch.clear()

    for content in files:
        batch.append(variant.transform(variant.decode(content)))
        if len(batch) == variant.batch_size:
            run()
    if batch:
        run()
    return torch.cat(best)


def compare(right: Tensor, wrong: Tensor, targets: Tensor) -> dict[str, Any]:
    """Return counts of the wrong way and how they differ from those of the right way.

    The interval is that of the difference of two paired proportions: only images on
    which the two disagree carry information (McNemar 1947,
    https://doi.org/10.1007/BF02295996).
    """
    samples = len(targets)
    hit, hit_wrong = right[:, 0] == targets, wrong[:, 0] == targets
    newly_wrong = int((hit & ~hit_wrong).sum())
    newly_right = int((~hit & hit_wrong).sum())
    difference = newly_right - newly_wrong
    spread = math.sqrt(newly_wrong + newly_right - difference**2 / samples)
    ends = (difference - Z_95 * spread, difference + Z_95 * spread)
    return {
        "top1_count": int(hit_wrong.sum()),
        "top5_count": int((wrong == targets[:, None]).any(1).sum()),
        "predictions_changed": int((right[:, 0] != wrong[:, 0]).sum()),
        "newly_wrong": newly_wrong,
        "newly_right": newly_right,
        "top1_percent": round(100 * int(hit_wrong.sum()) / samples, 3),
        "difference_points": round(100 * difference / samples, 3),
        "difference_interval_points": [round(100 * end / samples, 3) for end in ends],
    }


def measure(
    name: str,
    images: ImageClasses,
    variants: Callable[[Preprocessing], Iterable[Variant]],
) -> dict[str, Any]:
    """Run one network the right way and every wrong way."""
    preprocessing = find_entry(name).preprocessing
    targets = torch.tensor(images.find_targets())

    def run(variant: Variant) -> Tensor:
        network = zoo.load_searched_model(name)  # anew, because variants change it
        return predict(network.to(memory_format=torch.channels_last), variant, read_files(images))

    right = run(Variant("right", "as recorded", build_transform(preprocessing)))
    counts = compare(right, right, targets)
    rows = []
    for variant in variants(preprocessing):
        result = compare(right, run(variant), targets)
        rows.append({"group": variant.group, "what": variant.what, **result})
        print(rows[-1], flush=True)
    return {
        "model": name,
        "preprocessing": describe(preprocessing),
        "samples": len(targets),
        "top1_count": counts["top1_count"],
        "top5_count": counts["top5_count"],
        "top1_percent": counts["top1_percent"],
        "top1_interval_percent": [
            round(end, 3) for end in wilson_interval_percent(counts["top1_count"], len(targets))
        ],
        "variants": rows,
    }


def find_epsilon(name: str) -> float:
    """Return the epsilon of a model's BatchNorm layers, which must all have the same."""
    modules = zoo.load_searched_model(name).modules()
    (epsilon,) = {module.eps for module in modules if isinstance(module, nn.BatchNorm2d)}
    return epsilon


def main() -> None:
    """Measure both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imagenet", required=True, help="images of the ImageNet classes, a tar")
    parser.add_argument("--cifar10", required=True, help="CIFAR-10 test images, a tar")
    parser.add_argument("--model", default="proxyless-w0.3")
    parser.add_argument("--batch-norm-models", nargs="+", default=[EMBEDDED], metavar="NAME")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    small_images = open_dataset(arguments.cifar10)
    result = {
        "images": measure(arguments.model, open_dataset(arguments.imagenet), image_variants),
        "batch_norm": [
            measure(name, small_images, partial(batch_norm_variants, find_epsilon(name)))
            for name in arguments.batch_norm_models
        ],
    }
    write_result(arguments.out, result, PACKAGES)


if __name__ == "__main__":
    main()
