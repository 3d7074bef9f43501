"""Rows of the tables: a training of a model, the images, what was reported and what we measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from zoo.records import Accuracy, ModelRecord, Weights
from zoo.tables.measurement import Measurement

# none: nobody published weights. published: they exist, and we have not loaded them.
# verified: loaded here, digest and logits recorded. embedded: verified, part of the package.
WeightsStatus = Literal["none", "published", "verified", "embedded"]


class Row(NamedTuple):
    """One training of a model on one benchmark; `measurement` is None where we did not run it.

    `reported_of_another_training` is true where others reported on the same architecture, but
    the weights are ours.
    """

    model: str
    record: ModelRecord
    benchmark: str
    reported: tuple[Accuracy, ...]
    reported_of_another_training: bool
    measurement: Measurement | None
    status: WeightsStatus
    size_bytes: int | None


def make_rows(
    records: Mapping[str, ModelRecord] | Iterable[tuple[str, ModelRecord]],
    measurements: Iterable[Measurement],
) -> list[Row]:
    """Return the rows of all models, by space, then in the order of the manifest."""
    by_model: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_model.setdefault(measurement.model, []).append(measurement)
    rows = [
        row
        for name, record in dict(records).items()
        for model, weights in trainings(name, record)
        for row in _training_rows(model, record, weights, by_model.get(model, []))
    ]
    return sorted(rows, key=lambda row: row.record.space)


def trainings(name: str, record: ModelRecord) -> Iterator[tuple[str, list[Weights]]]:
    """Yield each training of a model with its packagings; the name alone is the first one."""
    by_tag: dict[str, list[Weights]] = {}
    for weights in record.weights:
        by_tag.setdefault(weights.tag, []).append(weights)
    if not by_tag:
        yield name, []
    for number, (tag, packagings) in enumerate(by_tag.items()):
        yield (f"{name}@{tag}" if number else name), packagings


def _training_rows(
    model: str, record: ModelRecord, weights: list[Weights], measurements: list[Measurement]
) -> Iterator[Row]:
    own = [accuracy for packaging in weights for accuracy in packaging.reported]
    # What the record reports is about its first training.
    of_record = () if "@" in model else record.reported
    reported = tuple(dict.fromkeys((*own, *of_record)))
    benchmarks = dict.fromkeys([a.dataset for a in reported] + [m.benchmark for m in measurements])
    for benchmark in benchmarks or {"": None}:
        reports = tuple(a for a in reported if a.dataset == benchmark)
        here = [m for m in measurements if m.benchmark == benchmark]
        of_weights = any(a.dataset == benchmark for a in own)
        # Benchmarks of cells report the same architecture on several data sets.
        fits = here or of_weights or benchmark.partition("/")[0] in ("", record.dataset)
        status = _status(record, weights) if fits else "none"
        for measurement in here or [None]:
            yield Row(
                model=model,
                record=record,
                benchmark=benchmark,
                reported=reports,
                # Weights that nobody else serves are ours; reports about them are their own.
                reported_of_another_training=(
                    status == "embedded" and bool(reports) and not of_weights
                ),
                measurement=measurement,
                status=status,
                size_bytes=next((w.size_bytes for w in weights if fits and w.size_bytes), None),
            )


def _status(record: ModelRecord, weights: list[Weights]) -> WeightsStatus:
    if not weights:
        return "none"
    recorded = {golden.weights_sha256 for golden in record.golden}
    if not recorded & {packaging.sha256 for packaging in weights}:
        return "published"
    sources = [source for packaging in weights for source in packaging.sources]
    return "embedded" if all(s.startswith("package:") for s in sources) else "verified"
