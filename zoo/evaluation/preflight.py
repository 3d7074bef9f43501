"""Check a data set before an evaluation or a training spends hours on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from zoo.errors import DatasetError
from zoo.evaluation.datasets import find_image_suffixes
from zoo.evaluation.images import ImageClasses

LOG = logging.getLogger("zoo")
SHOWN = 5  # file and class names listed in a message


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """What a data set holds and what is wrong with it.

    `problems` make every result wrong. `unreadable` maps the position of each
    image that cannot be decoded to its file name and the reason; `warnings`
    are worth knowing. `not_images` are files that are ignored.
    """

    name: str
    samples: int
    class_names: tuple[str, ...] | None
    class_samples: tuple[int, ...]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unreadable: dict[int, str] = {}
    not_images: tuple[str, ...] = ()

    def raise_problems(self, *, allow_unreadable: bool = False) -> None:
        """Raise when there are problems.

        Raises:
            DatasetError: all problems, one per line.
        """
        problems = list(self.problems)
        if self.unreadable and not allow_unreadable:
            reasons = _some(list(self.unreadable.values()))
            problems.append(f"{len(self.unreadable)} image(s) cannot be decoded: {reasons}")
        if problems:
            raise DatasetError("\n  ".join([f"{self.name}: cannot be used", *problems]))


def check_dataset(
    dataset: ImageClasses,
    num_classes: int,
    labels: Sequence[str] | None = None,
    *,
    judged: Sequence[int] | None = None,
    decode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Preflight:
    """Return a report on classes, their order, unreadable images and files that are no images.

    Args:
        num_classes: Outputs of the network.
        labels: The network's class names, in the order of its outputs.
        judged: Classes that should have images; None for all.
        decode: Decode every image; without it unreadable ones are not found.
        progress: Called with (images done, images in all) while decoding.
    """
    targets = dataset.find_targets()
    names = dataset.class_names
    counts = [0] * max(len(names or ()), num_classes, max(targets, default=-1) + 1)
    for target in targets:
        counts[target] += 1
    strangers = find_other_files(dataset.root) if dataset.root else []
    return Preflight(
        name=dataset.name,
        samples=len(dataset),
        class_names=names,
        class_samples=tuple(counts),
        problems=tuple(_find_class_problems(names, counts, num_classes, labels)),
        warnings=tuple(_find_warnings(names, counts, judged, strangers)),
        unreadable=_find_unreadable(dataset, progress) if decode else {},
        not_images=tuple(strangers),
    )


def require_usable(
    dataset: ImageClasses,
    num_classes: int,
    labels: Sequence[str] | None,
    *,
    judged: Sequence[int] | None = None,
    decode: bool,
) -> None:
    """Check a data set as `check_dataset` does; log what is worth knowing.

    Raises:
        DatasetError: all that would make a result wrong, one per line.
    """
    report = check_dataset(dataset, num_classes, labels, judged=judged, decode=decode)
    report.raise_problems()
    for warning in report.warnings:
        LOG.warning("%s: %s", report.name, warning)


def without_unreadable(dataset: ImageClasses, report: Preflight) -> ImageClasses:
    """Return a view without the images that `report` found unreadable."""
    return dataset.select([i for i in range(len(dataset)) if i not in report.unreadable])


def find_other_files(root: Path) -> list[str]:
    """Return the files below `root` whose suffix no image format has, relative to it."""
    suffixes = find_image_suffixes()
    return sorted(
        str((Path(folder) / file).relative_to(root))
        for folder, _inner, files in os.walk(root, followlinks=True)
        for file in files
        if Path(file).suffix.lower() not in suffixes
    )


def _find_class_problems(
    names: Sequence[str] | None,
    counts: Sequence[int],
    num_classes: int,
    labels: Sequence[str] | None,
) -> list[str]:
    if not sum(counts):
        return ["no images"]
    found = len(names) if names is not None else len(counts)
    if found != num_classes:
        return [
            f"{found} classes in the data, {num_classes} outputs of the network. "
            "Use the data the network was trained for, or give it a new head (num_classes)."
        ]
    if names is None or labels is None or list(names) == list(labels):
        return []
    if sorted(names) == sorted(labels):
        first = next(i for i, name in enumerate(names) if name != labels[i])
        return [
            f"classes are in another order: class {first} is {names[first]!r} in the data and "
            f"{labels[first]!r} in the network. Open the data with class_names=labels."
        ]
    missing = sorted(set(labels) - set(names))
    left_over = sorted(set(names) - set(labels))
    return [f"other class names: network has {_some(missing)}, data has {_some(left_over)}"]


def _find_warnings(
    names: Sequence[str] | None,
    counts: Sequence[int],
    judged: Sequence[int] | None,
    strangers: Sequence[str],
) -> list[str]:
    warnings = []
    empty = [
        names[i] if names and i < len(names) else str(i)
        for i in (range(len(counts)) if judged is None else judged)
        if not counts[i]
    ]
    if empty:
        warnings.append(f"{len(empty)} class(es) without images: {_some(empty)}")
    if strangers:
        warnings.append(f"{len(strangers)} file(s) ignored, not images: {_some(strangers)}")
    return warnings


def _find_unreadable(
    dataset: ImageClasses, progress: Callable[[int, int], None] | None
) -> dict[int, str]:
    reasons = {}
    for index in range(len(dataset)):
        try:
            dataset[index]
        except DatasetError as error:
            reasons[index] = f"{dataset.file_name(index)} ({error.__cause__})"
        if progress is not None:
            progress(index + 1, len(dataset))
    return reasons


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
