"""Evaluate models by name: weights, preprocessing, class order and reported accuracy are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import DatasetError, VerificationError
from zoo.evaluation.accuracy import classify
from zoo.evaluation.answers import Answers, measure
from zoo.evaluation.datasets import open_images
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.labels import LabelVariant, detect_variant, find_real_labels, find_variant
from zoo.evaluation.measured import Measured
from zoo.evaluation.preflight import require_usable
from zoo.evaluation.report import Verdict, find_expected, verdict
from zoo.evaluation.streams import ImageStream
from zoo.manifest import Entry, find_entry
from zoo.registry import class_folders, load_searched_model


class Evaluation(NamedTuple):
    """What a named model did on data.

    `variant` is the variant of ImageNet that the data is, if any. `measured` is None when the
    network gave NaN or infinity; `error` then says so. `verdict` is None when there is
    nothing to compare with.
    """

    name: str
    entry: Entry
    variant: LabelVariant | None
    answers: Answers
    measured: Measured | None = None
    verdict: Verdict | None = None
    error: str | None = None

    @property
    def agrees(self) -> bool:
        """False when the accuracy is another than the reported one, or there is none."""
        return self.error is None and (self.verdict is None or self.verdict.agrees)


def evaluate_models(
    names: Sequence[str],
    data: str | Path | Any,
    *,
    labels: str | None = None,
    expect: float | None = None,
    tolerance_points: float | None = None,
    checkpoint: Path | None = None,
    device: str | None = None,
    check_images: bool = False,
    opening: dict[str, Any] | None = None,
    **options: Any,
) -> list[Evaluation]:
    """Return what each of the named models does on the same data; an image is decoded once.

    Args:
        data: What `open_images` opens.
        labels: A variant of ImageNet, see `zoo.evaluation.labels`; None recognises those that
            their class folders tell.
        expect: Top-1 percent to compare with, instead of what the records report.
        tolerance_points: See `verdict`.
        checkpoint: Weights of the models, instead of the published ones.
        check_images: Decode every image first, and name all that cannot be.
        opening: Options of `open_images`.
        options: Those of `classify`.

    Raises:
        ZooError: one of its kinds; before the first image is classified, where that is possible.
    """
    entries = [find_entry(name) for name in names]
    networks = [load_searched_model(n, checkpoint=checkpoint, device=device) for n in names]
    images, variant = open_for(entries, data, labels, **opening or {})
    accepted = None
    if isinstance(images, ImageClasses):
        judged = None if variant is None else variant.classes
        # Models with the same outputs ask the same of the data.
        outputs = dict.fromkeys(
            (network.num_classes, variant.folders if variant else class_folders(entry.record))
            for entry, network in zip(entries, networks, strict=True)
        )
        for number, (num_classes, folders) in enumerate(outputs):
            require_usable(
                images,
                num_classes,
                folders,
                judged=judged,
                decode=check_images and number == 0,
            )
        if variant is not None and variant.is_multi:
            accepted = find_real_labels(images)
    found = classify(
        [(network, entry.preprocessing) for network, entry in zip(networks, entries, strict=True)],
        images,
        classes=None if variant is None else variant.classes,
        device=device,
        **options,
    )
    return [
        _judge(Evaluation(name, entry, variant, answers), accepted, expect, tolerance_points)
        for name, entry, answers in zip(names, entries, found, strict=True)
    ]


def open_for(
    entries: Sequence[Entry], data: str | Path | Any, labels: str | None, **options: Any
) -> tuple[ImageClasses | ImageStream, LabelVariant | None]:
    """Return the images, and which variant of ImageNet they are.

    Raises:
        DatasetError: the data cannot be opened, or `labels` does not fit the data or a model.
    """
    images = open_images(data, **options)
    names = getattr(images, "class_names", None)
    variant = find_variant(labels) if labels is not None else None
    strangers = [e.name for e in entries if class_folders(e.record) != find_variant("real").folders]
    if variant is None and names is not None and not strangers:
        variant = detect_variant(names)
    if variant is None:
        return images, None
    if strangers:
        raise DatasetError(
            f"labels {variant.name}: for models with the outputs of ImageNet-1k, which "
            f"{strangers[0]} does not have"
        )
    if names is not None:
        images = open_images(data, class_names=variant.folders, **options)
    if getattr(images, "class_names", None) != variant.folders:
        raise DatasetError(
            f"{images.name}: labels {variant.name} need images in class folders, as a folder or "
            f"a tar; the folders are called {variant.folders[0]}, {variant.folders[1]} …"
        )
    return images, variant


def _judge(
    evaluation: Evaluation,
    accepted: Sequence[Sequence[int]] | None,
    expect: float | None,
    tolerance_points: float | None,
) -> Evaluation:
    try:
        measured = measure(evaluation.answers, accepted)
    except VerificationError as error:  # the results of the other models are worth keeping
        return evaluation._replace(error=str(error))
    variant = evaluation.variant
    expected = expect
    if expected is None:
        dataset = None if variant is None else variant.dataset
        expected = find_expected(evaluation.entry, measured.samples, dataset)
    judged = None if expected is None else verdict(measured, expected, tolerance_points)
    return evaluation._replace(measured=measured, verdict=judged)
