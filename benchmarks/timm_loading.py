"""Images as timm's validate script opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader


def open_for_validation(
    data: Path,
    config: dict[str, Any],
    *,
    batch_size: int,
    workers: int = 0,
    prefetcher: bool = True,
) -> tuple[Any, Any]:
    """Return timm's data set and loader.

    Args:
        config: What timm's `resolve_data_config` returns.
        prefetcher: timm's default; it normalises batches instead of images.
    """
    dataset = create_dataset("", root=str(data), split="validation", input_img_mode="RGB")
    loader = create_loader(
        dataset,  # type: ignore[arg-type]
        input_size=config["input_size"],
        batch_size=batch_size,
        use_prefetcher=prefetcher,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        num_workers=workers,
        crop_pct=config["crop_pct"],
        crop_mode=config["crop_mode"],
        device=torch.device("cpu"),
    )
    return dataset, loader
