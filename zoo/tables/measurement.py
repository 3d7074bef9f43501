"""`Measurement`: one evaluation of one model, as `benchmarks/accuracy.py` writes it to a file."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from zoo.errors import InvalidManifest
from zoo.manifest import PACKAGE_ROOT
from zoo.records import Date, Percent, PositiveFloat, PositiveInt, Preprocessing, Record, Sha256


class Environment(Record, frozen=True, kw_only=True):
    """What a measurement was made with."""

    date: Date
    python: str
    system: str
    processor: str
    cores: PositiveInt
    versions: dict[str, str]


class Measurement(Record, frozen=True, kw_only=True):
    """Exact counts of one model on one set of images, and how they came about.

    `model` is a name, or `name@tag`. `dataset` says which images these were; `benchmark` names
    the images that reported accuracies are about, as in `Accuracy.dataset`. Only where both are
    the same images can a reported accuracy be confirmed.
    `images_per_second` includes reading and decoding; `latency_ms` is the median processor time
    of one image through the network on one thread, in float32.
    """

    model: str
    weights_sha256: Sha256
    dataset: str
    benchmark: str
    samples: PositiveInt
    top1_count: int
    top5_count: int | None
    top1_percent: Percent
    top5_percent: Percent | None
    top1_interval_percent: tuple[Percent, Percent]
    preprocessing: Preprocessing
    command: str
    batch_size: PositiveInt
    threads: PositiveInt
    images_per_second: PositiveFloat
    latency_ms: PositiveFloat
    environment: Environment


def builtin_measurements() -> Path:
    """Return the folder of committed measurements: in the wheel, or in a checkout."""
    packaged = PACKAGE_ROOT / "measurements"
    return packaged if packaged.is_dir() else PACKAGE_ROOT.parent / "benchmarks/results/accuracy"


def measurement_file(model: str, dataset: str) -> str:
    """Return the file name for a model on a set of images."""
    words = re.sub(r"[^a-z0-9]+", "-", dataset.lower().replace(",", "")).strip("-")
    return f"{model}.{words}.json"


def read_measurement(path: Path) -> Measurement:
    """Return the measurement in a file.

    Raises:
        InvalidManifest: the file cannot be read, or is no measurement.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Measurement)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidManifest(
            f"{path}: not a measurement: {error}. `python benchmarks/accuracy.py` writes them."
        ) from None


def read_measurements(folder: Path) -> list[Measurement]:
    """Return all measurements in a folder, by file name; none where there is no folder.

    Raises:
        InvalidManifest: a file is no measurement.
    """
    return [read_measurement(path) for path in sorted(folder.glob("*.json"))]
