"""Evaluate every model whose weights are at hand, and keep one file for each and its data.

`python benchmarks/accuracy.py --cifar10 test.tar --imagenet val.tar`

At hand means embedded, cached, or in a directory of ZOO_MIRRORS; `--download` asks the
published sources too. What was measured with the same weights before is skipped. Afterwards:
the entries printed belong into `weights_manifest.json`, and `zoo table --write` renews the
tables.
"""

from __future__ import annotations

import argparse
import fnmatch
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from environment import describe_environment
from torch.utils.benchmark import Timer

from zoo.errors import FetchError, VerificationError, ZooError
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.named import evaluate_models, open_for
from zoo.hub.cache import Cache, cache_root
from zoo.hub.checksum import file_sha256
from zoo.loading import fetch_weights
from zoo.manifest import Entry, find_entry, find_records
from zoo.networks.network import Network
from zoo.registry import load_searched_model
from zoo.tables.agreement import as_manifest_entry
from zoo.tables.measurement import Environment, Measurement, measurement_file, read_measurement
from zoo.tables.rows import trainings

RESULTS = Path(__file__).parent / "results/accuracy"
BATCH_SIZE = 64
IMAGENET_VALIDATION = 50_000


class Data(NamedTuple):
    """Images on the command line: what they are, and which reports they stand beside."""

    path: str
    name: str
    benchmark: str


def open_data(entry: Entry, path: str) -> Data:
    """Find out what the images are, for models that have the classes of `entry`."""
    images, variant = open_for([entry], path, None)
    assert isinstance(images, ImageClasses)
    count = f"{len(images):,}"
    if variant is not None:
        return Data(path, f"{variant.dataset}, {count} images", variant.dataset)
    if entry.record.dataset == "cifar-10":
        lossy = images.file_name(0).lower().endswith((".jpg", ".jpeg"))
        copy = " (JPEG copy)" if lossy else ""
        return Data(path, f"CIFAR-10{copy}, {count} test images", "cifar-10/test")
    if len(images) == IMAGENET_VALIDATION:
        return Data(path, "imagenet-1k/val", "imagenet-1k/val")
    one_each = set(Counter(images.find_targets()).values()) == {1}
    which = "one image per class" if one_each else f"{count} images"
    return Data(path, f"imagenet-1k sample, {which}", "imagenet-1k/val")


def find_models(pattern: str, dataset: str) -> Iterator[str]:
    """Yield the trainings with weights for a data set, as `name` or `name@tag`."""
    for name, record in find_records():
        if record.dataset == dataset and record.weights and fnmatch.fnmatchcase(name, pattern):
            for model, _ in trainings(name, record):
                yield model


def measure(model: str, digest: str, data: Data) -> Measurement:
    """Count right answers, and time one image.

    Raises:
        ZooError: one of its kinds, where the model cannot be evaluated on the data.
    """
    (evaluation,) = evaluate_models([model], data.path, batch_size=BATCH_SIZE)
    measured, preprocessing = evaluation.measured, evaluation.entry.preprocessing
    if measured is None:
        raise VerificationError(evaluation.error)
    return Measurement(
        model=model,
        weights_sha256=digest,
        dataset=data.name,
        benchmark=data.benchmark,
        samples=measured.samples,
        top1_count=measured.top1_count,
        top5_count=measured.top5_count,
        top1_percent=measured.top1_percent,
        top5_percent=measured.top5_percent,
        top1_interval_percent=measured.top1_interval_percent,
        preprocessing=preprocessing,
        command=f"zoo evaluate {model} {Path(data.path).name}",
        batch_size=BATCH_SIZE,
        threads=torch.get_num_threads(),
        images_per_second=round(measured.images_per_second, 1),
        latency_ms=round(time_one_image(load_searched_model(model), preprocessing.crop), 3),
        environment=msgspec.convert(describe_environment(), Environment),
    )


@torch.inference_mode()
def time_one_image(network: Network, size: int) -> float:
    """Return the median time of one image through the network on one thread, in milliseconds.

    It is time of the processor, so that other work on the machine does not count.
    """
    network.eval().to(memory_format=torch.channels_last)
    image = torch.zeros(1, network.in_chans, size, size).to(memory_format=torch.channels_last)
    given = {"network": network, "image": image}
    timer = Timer("network(image)", timer=time.process_time, globals=given, num_threads=1)
    return 1e3 * timer.blocked_autorange(min_run_time=1).median


def is_known(path: Path, digest: str) -> bool:
    """Tell whether a file has the measurement of these weights."""
    return path.exists() and read_measurement(path).weights_sha256 == digest


def run(model: str, data: Data, folder: Path, *, download: bool, force: bool) -> str | None:
    """Measure one model if its weights are at hand and it is not done; return what failed."""
    try:
        _, weights = fetch_weights(find_entry(model), Cache(cache_root()), offline=not download)
    except FetchError as error:
        return str(error) if download else None
    digest = file_sha256(weights)
    path = folder / measurement_file(model, data.name)
    if is_known(path, digest) and not force:
        print(f"{model} on {data.name}: known, see {path.name}")
        return None
    try:
        measurement = measure(model, digest, data)
    except ZooError as error:
        return str(error)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(measurement), indent=2) + b"\n")
    print(f"{model}, entry of `reproduced`:")
    print(msgspec.json.encode(as_manifest_entry(measurement)).decode(), flush=True)
    return None


def main() -> None:
    """Evaluate what the command line gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="names to evaluate; all")
    parser.add_argument("--cifar10", action="append", default=[], help="test images")
    parser.add_argument(
        "--imagenet", action="append", default=[], help="validation images, a sample, V2, A or R"
    )
    parser.add_argument("--download", action="store_true", help="fetch weights that are missing")
    parser.add_argument("--force", action="store_true", help="measure again what is known")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    arguments = parser.parse_args()
    given = {"cifar-10": arguments.cifar10, "imagenet-1k": arguments.imagenet}
    failures = []
    for dataset, paths in given.items():
        models = list(find_models(arguments.pattern, dataset))
        for path in paths if models else []:
            data = open_data(find_entry(models[0]), path)
            for model in models:
                failed = run(
                    model, data, arguments.out, download=arguments.download, force=arguments.force
                )
                failures += [f"{model}: {failed}"] if failed else []
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
