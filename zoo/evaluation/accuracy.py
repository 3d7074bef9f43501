"""Measure top-1 and top-5 accuracy: exact counts for any batch size and number of processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from zoo.errors import DatasetError, InvalidArgument, VerificationError
from zoo.evaluation.images import iterate
from zoo.evaluation.measured import Measured
from zoo.evaluation.processes import find_worker_count, join_processes
from zoo.preprocessing import build_transform
from zoo.records import Preprocessing


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
    """Return how often the model is right; every image counts exactly once.

    Several processes (`torchrun`) take every n-th image each, without padding,
    and all get the summed counts. The model moves to the device, runs in eval
    mode, and gets its training modes back.

    Args:
        dataset: (image, class index) pairs; tensors when `preprocessing` is None.
        workers: Data-loading processes; None chooses for this machine.
        progress: Called with (images done, images in all) of this process.

    Raises:
        InvalidArgument: `batch_size` is below 1.
        DatasetError: no images, one that cannot be decoded, or a class index the network
            has no output for.
        VerificationError: the network gave NaN or infinity.
    """
    if batch_size < 1:
        raise InvalidArgument(f"batch_size: expected at least 1, got {batch_size}")
    if not len(dataset):
        raise DatasetError(f"{getattr(dataset, 'name', 'data set')}: no images to evaluate")
    state = join_processes()
    place = torch.device(device) if device is not None else state.device
    images = (
        dataset if preprocessing is None else Transformed(dataset, build_transform(preprocessing))
    )
    loader = DataLoader(
        images,
        batch_size=batch_size,
        sampler=range(state.process_index, len(dataset), state.num_processes),
        num_workers=find_worker_count() if workers is None else workers,
        pin_memory=place.type == "cuda",
    )
    started = time.perf_counter()
    with evaluation_mode(model):
        model.to(place)
        counts = _count(model, loader, place, channels_last, progress)
    counts = _sum_over_processes(counts, place)
    return _measured(counts, len(dataset), time.perf_counter() - started)


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
    for images, targets in iterate(loader):
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
    from accelerate.utils import reduce

    state = join_processes()
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
