"""Measure top-1 and top-5 accuracy: exact counts for any batch size and number of processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from zoo.errors import DatasetError, InvalidArgument, VerificationError
from zoo.preprocessing import build_transform
from zoo.records import Preprocessing

Z_95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one evaluation; percents are derived from them.

    `class_samples` and `class_top1_counts` have one number per network output.
    `top5_count` is None for networks with fewer than five classes.
    """

    samples: int
    top1_count: int
    top5_count: int | None
    class_samples: tuple[int, ...]
    class_top1_counts: tuple[int, ...]
    images_per_second: float

    @property
    def top1_percent(self) -> float:
        return 100 * self.top1_count / self.samples

    @property
    def top5_percent(self) -> float | None:
        return None if self.top5_count is None else 100 * self.top5_count / self.samples

    @property
    def class_top1_percents(self) -> tuple[float | None, ...]:
        """Top-1 percent of each class; None for a class without images."""
        pairs = zip(self.class_top1_counts, self.class_samples, strict=True)
        return tuple(100 * right / total if total else None for right, total in pairs)

    @property
    def top1_interval_percent(self) -> tuple[float, float]:
        """The 95 % interval of top-1 for other samples of the same size (Wilson score)."""
        return wilson_interval_percent(self.top1_count, self.samples)


def wilson_interval_percent(successes: int, samples: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion, in percent.

    Source: Wilson 1927, https://doi.org/10.2307/2276774.
    """
    share, z2 = successes / samples, Z_95**2
    centre = (share + z2 / (2 * samples)) / (1 + z2 / samples)
    spread = (share * (1 - share) / samples + z2 / (4 * samples**2)) ** 0.5
    half = Z_95 * spread / (1 + z2 / samples)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


class Transformed(Dataset):
    """A data set whose images went through a transform."""

    def __init__(self, source: Any, transform: Callable[[Any], Tensor]) -> None:
        self.source = source
        self.transform = transform

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, target = self.source[index][:2]
        return self.transform(image), target


def evaluate(
    model: nn.Module,
    dataset: Any,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    device: str | torch.device | None = None,
    channels_last: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Return how often the model is right on every image, each counted exactly once.

    Under `accelerate launch` each process takes every n-th image without
    padding, and all processes get the summed counts. The model moves to the
    device, runs in eval mode, and gets its training modes back.

    Args:
        dataset: (image, class index) pairs; tensors when `preprocessing` is None.
        workers: Data-loading processes; None chooses for this machine.
        progress: Called with (images done, images in all) of this process.

    Raises:
        InvalidArgument: `batch_size` is below 1.
        DatasetError: no images, or a class index the network has no output for.
        VerificationError: the network gave NaN or infinity.
    """
    from accelerate import PartialState

    if batch_size < 1:
        raise InvalidArgument(f"batch_size: expected at least 1, got {batch_size}")
    if not len(dataset):
        raise DatasetError(f"{getattr(dataset, 'name', 'data set')}: no images to evaluate")
    state = PartialState()
    place = torch.device(device) if device is not None else state.device
    images = (
        dataset if preprocessing is None else Transformed(dataset, build_transform(preprocessing))
    )
    loader = DataLoader(
        images,
        batch_size=batch_size,
        sampler=range(state.process_index, len(dataset), state.num_processes),
        num_workers=find_worker_count(state.num_processes) if workers is None else workers,
        pin_memory=place.type == "cuda",
    )
    started = time.perf_counter()
    with evaluation_mode(model):
        model.to(place)
        counts = _count(model, loader, place, channels_last, progress)
    counts = _sum_over_processes(counts, place)
    return _measured(counts, len(dataset), time.perf_counter() - started)


def find_worker_count(processes: int = 1) -> int:
    """Return how many data-loading processes suit each of `processes` on this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = (usable or 1) // processes
    return min(8, share) if share > 1 else 0


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode; afterwards give each its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.inference_mode()
def _count(
    model: nn.Module,
    loader: DataLoader,
    device: torch.device,
    channels_last: bool,
    progress: Callable[[int, int], None] | None,
) -> Tensor | None:
    """Return (classes, 4) counts: images, right at top 1, right at top 5, not finite."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    total = len(loader.sampler)  # type: ignore[arg-type]
    counts, done = None, 0
    for images, targets in loader:
        logits = model(images.to(device, memory_format=layout, non_blocking=True))
        classes = logits.shape[1]
        if int(targets.min()) < 0 or int(targets.max()) >= classes:
            raise DatasetError(
                f"class indices {int(targets.min())} to {int(targets.max())} in the data, but the "
                f"network has outputs 0 to {classes - 1}. Check the data's class folders."
            )
        targets = targets.to(device, non_blocking=True)
        hits = logits.topk(min(5, classes)).indices == targets[:, None]
        broken = ~logits.isfinite().all(dim=1)
        rows = torch.stack([torch.ones_like(broken), hits[:, 0], hits.any(dim=1), broken], dim=1)
        if counts is None:
            counts = torch.zeros(classes, 4, dtype=torch.long, device=device)
        counts.index_add_(0, targets, rows.long())
        done += len(images)
        if progress is not None:
            progress(done, total)
    return counts


def _sum_over_processes(counts: Tensor | None, device: torch.device) -> Tensor:
    from accelerate import PartialState
    from accelerate.utils import reduce

    state = PartialState()
    if state.num_processes == 1:
        assert counts is not None
        return counts.cpu()
    # A process without images does not know the number of classes yet.
    classes = torch.tensor([0 if counts is None else len(counts)], device=state.device)
    classes = int(reduce(classes, "max").max())  # type: ignore[union-attr]
    if counts is None:
        counts = torch.zeros(classes, 4, dtype=torch.long, device=device)
    return reduce(counts.to(state.device), "sum").cpu()  # type: ignore[union-attr]


def _measured(counts: Tensor, samples: int, seconds: float) -> Measured:
    images, top1, top5, broken = counts.sum(dim=0).tolist()
    assert images == samples, (images, samples)
    if broken:
        raise VerificationError(
            f"the network gave NaN or infinity for {broken} of {samples} images; "
            "check the weights with `zoo verify`"
        )
    return Measured(
        samples=samples,
        top1_count=top1,
        top5_count=top5 if len(counts) >= 5 else None,
        class_samples=tuple(counts[:, 0].tolist()),
        class_top1_counts=tuple(counts[:, 1].tolist()),
        images_per_second=samples / seconds,
    )
