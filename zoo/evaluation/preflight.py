"""Check a data set before an evaluation or a training spends hours on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from zoo.errors import DatasetError
from zoo.evaluation.datasets import ImageClasses

SHOWN = 5  # file and class names listed in a message


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """What a data set holds and what is wrong with it.

    `problems` make results wrong; `warnings` are worth knowing. `unreadable`
    are the positions of images that cannot be decoded, `not_images` the files
    that are ignored.
    """

    name: str
    samples: int
    class_names: tuple[str, ...] | None
    class_samples: tuple[int, ...]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unreadable: tuple[int, ...] = ()
    not_images: tuple[str, ...] = ()

    def raise_problems(self) -> None:
        """Raise when there are problems.

        Raises:
            DatasetError: all problems, one per line.
        """
        if self.problems:
            raise DatasetError("\n  ".join([f"{self.name}: cannot be used", *self.problems]))


def check_dataset(
    dataset: ImageClasses,
    num_classes: int,
    labels: Sequence[str] | None = None,
    *,
    decode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Preflight:
    """Return a report on classes, class order, unreadable images and files that are no images.

    Args:
        num_classes: Outputs of the network.
        labels: The network's class names, in the order of its outputs.
        decode: Decode every image; without it unreadable ones are not found.
        progress: Called with (images done, images in all) while decoding.
    """
    targets = dataset.find_targets()
    known = len(dataset.class_names or ())
    counts = [0] * max(known, num_classes, max(targets, default=-1) + 1)
    for target in targets:
        counts[target] += 1
    names = dataset.class_names
    problems = _find_class_problems(names, counts, num_classes, labels)
    if not targets:
        problems.append("no images")
    unreadable, reasons = _find_unreadable(dataset, progress) if decode else ([], [])
    if unreadable:
        problems.append(f"{len(unreadable)} unreadable image(s): {_some(reasons)}")
    warnings = []
    empty = [names[i] if names else str(i) for i in range(known or num_classes) if not counts[i]]
    if empty:
        warnings.append(f"{len(empty)} class(es) without images: {_some(empty)}")
    strangers = find_files_without_images(dataset.root) if dataset.root else []
    if strangers:
        warnings.append(f"{len(strangers)} file(s) ignored, not images: {_some(strangers)}")
    return Preflight(
        name=dataset.name,
        samples=len(dataset),
        class_names=names,
        class_samples=tuple(counts),
        problems=tuple(problems),
        warnings=tuple(warnings),
        unreadable=tuple(unreadable),
        not_images=tuple(strangers),
    )


def find_files_without_images(root: Path) -> list[str]:
    """Return the files below `root` whose suffix no image format has, relative to it."""
    from timm.data.readers.img_extensions import get_img_extensions

    suffixes = get_img_extensions(as_set=True)
    return sorted(
        os.path.relpath(os.path.join(folder, file), root)
        for folder, _inner, files in os.walk(root, followlinks=True)
        for file in files
        if os.path.splitext(file)[1].lower() not in suffixes
    )


def _find_class_problems(
    names: Sequence[str] | None,
    counts: Sequence[int],
    num_classes: int,
    labels: Sequence[str] | None,
) -> list[str]:
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


def _find_unreadable(
    dataset: ImageClasses, progress: Callable[[int, int], None] | None
) -> tuple[list[int], list[str]]:
    positions, reasons = [], []
    for index in range(len(dataset)):
        try:
            dataset[index]
        except DatasetError as error:
            positions.append(index)
            reasons.append(f"{dataset.file_name(index)} ({error.__cause__})")
        if progress is not None:
            progress(index + 1, len(dataset))
    return positions, reasons


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
