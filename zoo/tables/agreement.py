"""Check that what the manifest calls reproduced is what the committed measurements say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from zoo.evaluation.measured import wilson_interval_percent
from zoo.records import ModelRecord, Reproduction, Weights
from zoo.tables.measurement import Measurement, measurement_file
from zoo.tables.rows import trainings

SAME_PERCENT = 0.005  # manifests give two decimals


def find_disagreements(
    records: Mapping[str, ModelRecord], measurements: Iterable[Measurement]
) -> list[str]:
    """Return one sentence for each number that lacks its measurement, or differs from it."""
    by_key = {(m.model, m.dataset): m for m in measurements}
    known = {
        model: weights
        for name, record in records.items()
        for model, weights in trainings(name, record)
    }
    problems = [
        problem
        for model, weights in known.items()
        for packaging in weights
        for entry in packaging.reproduced
        if (problem := _compare(model, packaging, entry, by_key.get((model, entry.dataset))))
    ]
    for measurement in by_key.values():
        problems += _check(measurement, known.get(measurement.model))
    return problems


def as_manifest_entry(measurement: Measurement) -> Reproduction:
    """Return what belongs into the manifest's `reproduced` for a measurement."""
    top5 = measurement.top5_percent
    return Reproduction(
        dataset=measurement.dataset,
        top1_percent=round(measurement.top1_percent, 2),
        top5_percent=None if top5 is None else round(top5, 2),
        samples=measurement.samples,
        date=measurement.environment.date,
        command=measurement.command,
    )


def _compare(
    model: str, weights: Weights, entry: Reproduction, measurement: Measurement | None
) -> str | None:
    where = f"{model}: `reproduced` on {entry.dataset!r}"
    if measurement is None:
        file = measurement_file(model, entry.dataset)
        return f"{where} has no measurement {file}. Run benchmarks/accuracy.py."
    if weights.sha256 not in (None, measurement.weights_sha256):
        return (
            f"{where} is about the file {weights.sha256[:12]}…, the measurement about "
            f"{measurement.weights_sha256[:12]}…. Run benchmarks/accuracy.py again."
        )
    pairs = [
        (entry.top1_percent, measurement.top1_percent),
        (entry.top5_percent, measurement.top5_percent),
    ]
    same = entry.samples == measurement.samples and all(
        a == b or (a is not None and b is not None and abs(a - b) <= SAME_PERCENT) for a, b in pairs
    )
    return None if same else f"{where} differs from its measurement. {_advice(measurement)}"


def _check(measurement: Measurement, weights: list[Weights] | None) -> list[str]:
    m = measurement
    file = measurement_file(m.model, m.dataset)
    if weights is None:
        return [f"{file}: the manifest has no model {m.model!r}. Remove the file."]
    problems = []
    digests = {packaging.sha256 for packaging in weights}
    if None not in digests and m.weights_sha256 not in digests:
        problems.append(
            f"{file}: measured with weights {m.weights_sha256[:12]}… that the manifest does not "
            "have any more. Run benchmarks/accuracy.py again, or remove the file."
        )
    elif not any(r.dataset == m.dataset for packaging in weights for r in packaging.reproduced):
        problems.append(f"{m.model}: measured on {m.dataset!r}, not in the manifest. {_advice(m)}")
    percents = (
        100 * m.top1_count / m.samples,
        None if m.top5_count is None else 100 * m.top5_count / m.samples,
        wilson_interval_percent(m.top1_count, m.samples),
    )
    if percents != (m.top1_percent, m.top5_percent, m.top1_interval_percent):
        problems.append(f"{file}: its percents are not those of its counts, {percents}")
    return problems


def _advice(measurement: Measurement) -> str:
    entry = msgspec.json.encode(as_manifest_entry(measurement)).decode()
    return f"The manifest's entry should be {entry}"
