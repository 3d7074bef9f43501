"""Measure top-1 and top-5 accuracy: exact counts for any batch size and number of processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from zoo.errors import DatasetError, InvalidArgument
from zoo.evaluation.answers import Answers, measure
from zoo.evaluation.datasets import open_dataset, open_images
from zoo.evaluation.images import ImageClasses, iterate
from zoo.evaluation.labels import LabelVariant, find_real_labels
from zoo.evaluation.measured import Measured
from zoo.evaluation.panel import Candidate, Panel
from zoo.evaluation.processes import find_worker_count, join_processes
from zoo.evaluation.sheet import AnswerSheet
from zoo.evaluation.state import find_identity
from zoo.evaluation.streams import ImageStream
from zoo.records import Preprocessing

Transform = Callable[[Any], Tensor]


def evaluate(
    model: nn.Module, dataset: Any, *, preprocessing: Preprocessing | None = None, **options: Any
) -> Measured:
    """Return how often the model is right; every image counts exactly once.

    Args:
        dataset: What `open_images` opens; with tensors as images when `preprocessing` is None.
        options: Those of `evaluate_many`.

    Raises:
        InvalidArgument, DatasetError, VerificationError: see `classify`.
    """
    return evaluate_many([(model, preprocessing)], dataset, **options)[0]


def evaluate_many(
    candidates: Sequence[Candidate],
    dataset: Any,
    *,
    labels: LabelVariant | None = None,
    **options: Any,
) -> list[Measured]:
    """Return how often each of several models is right; each image is decoded once for all.

    Args:
        candidates: Pairs of a model and its preprocessing.
        labels: A variant of ImageNet; the data set was opened with `class_names=labels.folders`.
        options: Those of `classify`.

    Raises:
        InvalidArgument, DatasetError, VerificationError: see `classify`.
    """
    classes = labels.classes if labels is not None else None
    accepted = None
    if labels is not None and labels.is_multi:
        dataset = open_dataset(dataset)
        accepted = find_real_labels(dataset)
    answers = classify(candidates, dataset, classes=classes, **options)
    return [measure(each, accepted) for each in answers]


def classify(
    candidates: Sequence[Candidate],
    dataset: Any,
    *,
    classes: Sequence[int] | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    device: str | torch.device | None = None,
    channels_last: bool = True,
    state_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Answers]:
    """Return what each model says about each image.

    An image is decoded once, and transformed once for each preprocessing; on the CPU several
    threads compute pieces of a batch with the zoo's own networks at once. Several processes
    (`torchrun`) take every n-th image each, without padding, and all get all answers. The
    models move to the device, run in eval mode, and get their training modes back.

    Args:
        dataset: What `open_images` opens. Streams need a single process.
        classes: The only outputs that are judged; None for all.
        workers: Data-loading processes; None chooses for this machine.
        state_path: File for the answers so far. A killed call goes on from it, with any batch
            size and number of processes; it is removed at the end.
        progress: Called with (images done, images in all) of this process.

    Raises:
        InvalidArgument: `batch_size` is below 1, or the state belongs to another evaluation.
        DatasetError: no images, one that cannot be decoded, or a class index that a model
            has no output for.
    """
    if batch_size < 1:
        raise InvalidArgument(f"batch_size: expected at least 1, got {batch_size}")
    images = open_images(dataset)
    processes = join_processes()
    if isinstance(images, ImageStream):
        _check_single(images, processes.num_processes)
    total = images.samples if isinstance(images, ImageStream) else len(images)
    panel = Panel(candidates, classes, device or processes.device, channels_last)
    identity = {}
    if state_path is not None:
        identity = find_identity(panel.networks, open_dataset(images), panel.describe())
    sheet = AnswerSheet(panel.width, total, batch_size, state_path, identity)
    loader = _build_loader(images, panel, sheet, batch_size, workers)
    started = time.perf_counter()
    with panel.evaluating(batch_size):
        for batches, targets in iterate(loader):
            sheet.add(panel.answer(batches, targets))
            if progress is not None:
                progress(sheet.done, sheet.expected)
    rows = sheet.finish()
    if not len(rows):
        raise DatasetError(f"{images.name}: no images to evaluate")
    speed = (len(rows) - sheet.first) / (time.perf_counter() - started)
    return panel.read_answers(rows, speed)


class Transformed(Dataset):
    """A data set whose images each went through several transforms after one decoding."""

    def __init__(self, source: Any, transforms: Sequence[Transform]) -> None:
        self.source = source
        self.transforms = transforms

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        image, target = self.source[index][:2]
        return [transform(image) for transform in self.transforms], target


class TransformedStream(IterableDataset):
    """The same for data that is read in order."""

    def __init__(self, source: Any, transforms: Sequence[Transform]) -> None:
        self.source = source
        self.transforms = transforms

    def __iter__(self) -> Iterator[tuple[list[Tensor], int]]:
        for image, target, *_ in self.source:
            yield [transform(image) for transform in self.transforms], target


def _check_single(stream: ImageStream, num_processes: int) -> None:
    if num_processes > 1:
        raise DatasetError(
            f"{stream.name}: streamed data cannot be shared exactly by {num_processes} processes. "
            "Start one process, or store the images as class folders or a tar."
        )


def _build_loader(
    images: ImageClasses | ImageStream,
    panel: Panel,
    sheet: AnswerSheet,
    batch_size: int,
    workers: int | None,
) -> DataLoader:
    transforms = panel.build_transforms()
    workers = find_worker_count() if workers is None else workers
    common: dict[str, Any] = {"batch_size": batch_size, "pin_memory": panel.device.type == "cuda"}
    if isinstance(images, ImageStream):
        stream = TransformedStream(images, transforms)
        return DataLoader(stream, num_workers=min(1, workers), **common)
    return DataLoader(
        Transformed(images, transforms), sampler=sheet.indices, num_workers=workers, **common
    )
