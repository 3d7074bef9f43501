"""timm's evaluation: its data set, loader and accuracy, put together as its validate.py does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from timm.data.real_labels import RealLabelsImagenet
from timm.utils.metrics import AverageMeter, accuracy
from torch import Tensor, nn


class TimmResult(NamedTuple):
    """Counts, and the five best classes of each image: (images, 5)."""

    top1_count: int
    top5_count: int
    predictions: Tensor
    real_percents: dict[int, float]


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
    dataset: Any = create_dataset("", root=str(data), split="validation", input_img_mode="RGB")
    loader: Any = create_loader(
        dataset,
        input_size=config["input_size"],
        batch_size=batch_size,
        use_prefetcher=prefetcher,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        num_workers=0,
        crop_pct=config["crop_pct"],
        crop_mode=config["crop_mode"],
        device=torch.device("cpu"),
    )
    real = _read_real_labels(dataset.filenames(basename=True)) if real_labels else None
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
