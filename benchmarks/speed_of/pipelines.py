"""Rows "evaluation" and "fine-tuning": images per second from files to counts and to weights.

Each run is a fresh process: what a C library has been told stays with a process. All have the
same images, weights, batch size and number of data-loading processes, and as many threads as
PyTorch takes by itself. Evaluation is timed from opening the data to the accuracy, fine-tuning
from the first image to the last update of an epoch. The rows of memory are the peaks of the
process that computes, above what it had before the network was made.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zoo
from speed_of.inference import OPTIMISED
from speed_of.measuring import Measured, in_process, repeat_in_turn
from speed_of.networks import find_timm_names, image_size, settle
from speed_of.timm_loops import evaluate_with_timm, train_with_timm
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.processes import find_worker_count
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.run import train_network
from zoo.preprocessing import build_transform

BATCH_SIZE = 64
COLUMNS = {"evaluation": ("zoo", OPTIMISED, "timm"), "fine-tuning": ("zoo", "timm")}
VALIDATED = 8  # images; the evaluation after an epoch is not what fine-tuning is timed for

_RUN = """
import json, sys
from speed_of.measuring import find_peak, forget_peak
from speed_of.pipelines import run_once
forget_peak()
before = find_peak()
speed, note = run_once(*sys.argv[1:])
print(json.dumps([speed, find_peak() - before, note]))
"""


def measure(data: Path, networks: Sequence[str], runs: int) -> Iterator[Measured]:
    """Yield both rows, and the peak memory of each; networks that timm does not have are left out.

    Args:
        data: A folder or tar of class folders.
    """
    timm_names = find_timm_names()
    for name in networks:
        if name not in timm_names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_weights(timm_names[name], image_size(name), Path(folder, "weights.pth"))
            for row, columns in COLUMNS.items():
                arguments = (name, timm_names[name], str(data.resolve()), folder)
                runners = {column: _runner(row, column, *arguments) for column in columns}
                results = repeat_in_turn(runners, runs=runs, warm_up=1)
                for column, made in results.items():
                    speeds, peaks, notes = zip(*made, strict=True)
                    yield Measured(row, name, column, "images/s", speeds, notes[0])
                    yield Measured(f"peak memory, {row}", name, column, "bytes", peaks)


def write_weights(timm_name: str, size: int, path: Path) -> None:
    """Write seeded random weights of timm's network, which both sides load."""
    import timm

    torch.manual_seed(0)
    torch.save(settle(timm.create_model(timm_name), size).state_dict(), path)


def run_once(
    row: str, column: str, name: str, timm_name: str, data: str, folder: str
) -> tuple[float, str]:
    """Make one run in this process; return images per second and a note."""
    workers = find_worker_count()
    note = f"batch {BATCH_SIZE}, {workers} data-loading processes"
    weights = Path(folder, "weights.pth")
    if row == "evaluation" and column == "timm":
        speed = evaluate_with_timm(_load_timm(timm_name, weights), Path(data), BATCH_SIZE, workers)
    elif row == "evaluation":
        network: Any = zoo.load_searched_model(name, checkpoint=weights)
        if column == OPTIMISED:
            network = _optimise(network, Path(data), Path(folder))
            note += f", {network.backend}"
        speed = _evaluate(network, Path(data), workers)
    else:
        num_classes = len(open_dataset(data).class_names or ())
        recipe = Recipe(epochs=1, batch_size=BATCH_SIZE, workers=workers)
        if column == "timm":
            speed = train_with_timm(_load_timm(timm_name, weights, num_classes), Path(data), recipe)
        else:
            network = zoo.load_searched_model(name, checkpoint=weights, num_classes=num_classes)
            speed = _train(network, data, recipe)
    return speed, note


def _runner(*arguments: str) -> Callable[[], tuple[float, float, str]]:
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return lambda: tuple(in_process(_RUN, *arguments, environment=environment))


def _load_timm(timm_name: str, weights: Path, num_classes: int = 1000) -> nn.Module:
    import timm

    network = timm.create_model(timm_name, num_classes=num_classes)
    own = network.state_dict()
    found = torch.load(weights, weights_only=True)
    # A new head stays as it was made.
    fitting = {key: value for key, value in found.items() if value.shape == own[key].shape}
    network.load_state_dict(own | fitting)
    return network


def _optimise(network: Any, data: Path, folder: Path) -> Any:
    images, transform = open_dataset(data), build_transform(network.preprocessing)
    count = min(BATCH_SIZE, len(images))
    example = torch.stack([transform(images[index][0]) for index in range(count)])
    return zoo.optimize(network, example, cache_dir=folder)


def _evaluate(network: Any, data: Path, workers: int) -> float:
    started = time.perf_counter()
    measured = zoo.evaluate(
        network,
        data,
        preprocessing=network.preprocessing,
        batch_size=BATCH_SIZE,
        workers=workers,
    )
    return measured.samples / (time.perf_counter() - started)


def _train(network: Any, data: str, recipe: Recipe) -> float:
    images = open_dataset(data)
    with tempfile.TemporaryDirectory() as folder:
        train_network(
            network,
            images,
            images.select(range(min(VALIDATED, len(images)))),
            preprocessing=network.preprocessing,
            recipe=recipe,
            out_dir=Path(folder),
        )
        text = Path(folder, "results.csv").read_text("utf-8")
    (epoch,) = csv.DictReader(text.splitlines())
    return float(epoch["images_per_second"])
