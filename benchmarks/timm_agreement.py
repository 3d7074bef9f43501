"""Is the zoo's evaluation that of timm, image for image?

`python benchmarks/timm_agreement.py val.tar --out results/timm_agreement.json`

The same weights file goes through `zoo` and through timm's data set, loader and accuracy,
put together as its validate.py does. The weights are made here, from the images themselves,
so that about half of the answers are right: random features with batch norm statistics of
the images, and a classifier that knows the features of each image, up to noise.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from environment import write_result
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.data.real_labels import RealLabelsImagenet
from timm.utils.metrics import AverageMeter, accuracy
from timm_loading import open_for_validation
from torch import Tensor, nn

import zoo
from zoo.evaluation.accuracy import classify
from zoo.evaluation.answers import measure
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.images import ImageClasses
from zoo.manifest import find_entry
from zoo.preprocessing import build_transform

# What a network is called here and there: two input sizes, interpolations and means.
PAIRS = {
    "tinynet-e": "tinynet_e.in1k",
    "mobilenetv3-small-050": "mobilenetv3_small_050.lamb_in1k",
    "mobilenetv3-small-minimal-100-tf": "tf_mobilenetv3_small_minimal_100.in1k",
}
RIDGE = 1e-3  # of the largest variance of the features


class TimmResult(NamedTuple):
    """Counts, and the five best classes of each image: (images, 5)."""

    top1_count: int
    top5_count: int
    predictions: Tensor
    real_percents: dict[int, float]


def main() -> None:
    """Compare three networks on a folder or tar of class folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(list(PAIRS), arguments.data, Path(folder))
    write_result(arguments.out, {"data": arguments.data.name, "networks": rows})


def compare(names: Sequence[str], data: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Return counts of both sides and the number of images with other answers, by network."""
    images = open_dataset(data)
    paths = {name: make_weights(name, images, folder / f"{name}.safetensors") for name in names}
    candidates = [
        (zoo.load_searched_model(name, checkpoint=paths[name]), find_entry(name).preprocessing)
        for name in names
    ]
    found = classify(candidates, images, workers=0)
    rows = {}
    for name, answers in zip(names, found, strict=True):
        network = timm.create_model(PAIRS[name], checkpoint_path=str(paths[name]))
        config = resolve_data_config({}, model=network, use_test_size=True)
        theirs = evaluate_with_timm(network, data, config)
        measured, differs = measure(answers), answers.predictions != theirs.predictions
        rows[name] = {
            "timm": PAIRS[name],
            "samples": measured.samples,
            "zoo_counts": [measured.top1_count, measured.top5_count],
            "timm_counts": [theirs.top1_count, theirs.top5_count],
            "images_with_another_best_answer": int(differs[:, 0].sum()),
            "images_with_another_answer_among_five": int(differs.any(dim=1).sum()),
        }
    return rows


@torch.inference_mode()
def make_weights(name: str, images: ImageClasses, path: Path) -> Path:
    """Write a file of weights, in timm's format, with which a network answers half of it right."""
    torch.manual_seed(0)
    network: Any = timm.create_model(PAIRS[name])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches instead of a moving one
    transform = build_transform(find_entry(name).preprocessing)
    inputs = torch.stack([transform(images[index][0]) for index in range(len(images))])
    network.train()
    for batch in inputs[:: max(1, len(inputs) // 128)].split(64):
        network.forward_features(batch)
    network.eval()
    features = torch.cat([_find_features(network, batch) for batch in inputs.split(64)])
    # Which image is nearest in whitened features, as a linear layer.
    mean = features.mean(dim=0)
    values, vectors = torch.linalg.eigh((features - mean).T.cov(correction=0))
    whitening = vectors * (values.clamp(min=0) + RIDGE * values[-1]).rsqrt()
    known = _blur((features - mean) @ whitening)
    weight = known @ whitening.T
    network.classifier.weight[: len(known)] = weight
    network.classifier.bias.fill_(-1e6)
    network.classifier.bias[: len(known)] = -known.square().sum(dim=1) / 2 - weight @ mean
    save_file(network.state_dict(), path)
    return path


def _blur(points: Tensor) -> Tensor:
    """Return the points with so much noise that about half are still nearest to their own."""
    noise = points.std() * torch.randn(points.shape)
    for strength in range(1, 1000):
        blurred = points + strength / 10 * noise
        nearest = (points @ blurred.T - blurred.square().sum(dim=1) / 2).argmax(dim=1)
        if (nearest == torch.arange(len(points))).float().mean() < 0.6:
            return blurred
    raise AssertionError("noise makes no difference")


def _find_features(network: Any, inputs: Tensor) -> Tensor:
    return network.forward_head(network.forward_features(inputs), pre_logits=True)


@torch.inference_mode()
def evaluate_with_timm(
    network: nn.Module,
    data: Path,
    config: dict[str, Any],
    *,
    valid_labels: list[int] | None = None,
    real_labels: bool = False,
    prefetcher: bool = True,
    batch_size: int = 64,
) -> TimmResult:
    """Return what timm measures.

    Args:
        config: What timm's `resolve_data_config` returns.
        valid_labels: As `--valid-labels`: only these outputs are judged.
        real_labels: As `--real-labels`.
        prefetcher: timm's default; it normalises batches instead of images.
    """
    dataset, loader = open_for_validation(
        data, config, batch_size=batch_size, prefetcher=prefetcher
    )
    real: Any = _read_real_labels(dataset.filenames(basename=True)) if real_labels else None
    top1, top5, predictions = AverageMeter(), AverageMeter(), []
    network.eval()
    for images, targets in loader:
        logits = network(images)
        if valid_labels is not None:
            logits = logits[:, valid_labels]
        if real is not None:
            real.add_result(logits)
        acc1, acc5 = accuracy(logits, targets, topk=(1, 5))
        top1.update(acc1.item(), len(images))
        top5.update(acc5.item(), len(images))
        best = logits.topk(5).indices
        predictions.append(best if valid_labels is None else torch.tensor(valid_labels)[best])
    return TimmResult(
        round(top1.sum / 100),
        round(top5.sum / 100),
        torch.cat(predictions),
        real.get_accuracy() if real is not None else {},
    )


def _read_real_labels(filenames: list[str]) -> RealLabelsImagenet:
    # timm insists on all 50,000 names, but judges only the images that it is given.
    every = {f"ILSVRC2012_val_{number:08d}.JPEG": None for number in range(1, 50_001)}
    return RealLabelsImagenet([*filenames, *(every.keys() - set(filenames))])


if __name__ == "__main__":
    main()
