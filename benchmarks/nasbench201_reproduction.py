"""Does NAS-Bench-201's 12-epoch protocol give its reported accuracies here?

Trains cells under the benchmark's own protocol on the 50,000 training images of CIFAR-10 and
compares the accuracy on the 10,000 test images with the reported one.

`python benchmarks/nasbench201_reproduction.py train.tar test.tar --cell 13954` trains one cell;
without `--cell` all that are not trained yet, cheapest first; `--summary` compares those that are.
Protocol: NAS-Bench-201, section 3 and table 1, https://arxiv.org/abs/2001.00326, and
D-X-Y/AutoDL-Projects at f46486e, `configs/nas-benchmark/LESS.config`.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from environment import describe_environment
from nasbench201_plain import train_plainly
from PIL import Image
from torch import nn

from zoo import NasBench201
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.images import ImageClasses
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.run import train_network
from zoo.networks.network import Network
from zoo.records import Preprocessing

HERE = Path(__file__).parent
CELLS = HERE / "nasbench201_cells.json"
RESULTS = HERE / "results" / "nasbench201"

PROTOCOL = Recipe(
    epochs=12,
    batch_size=256,
    drop_last=False,
    optimizer="sgd",
    lr=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    decay_norms=True,
    schedule="cosine",
    schedule_step="epoch",
    warmup_epochs=0.0,
    crop="padded",
    horizontal_flip=0.5,
    workers=1,
    seed=111,
)
PREPROCESSING = Preprocessing(
    resize=32,
    crop=32,
    mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
    std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
)
JPEG_QUALITY = 75  # of the copy that the results are of
JPEG_BLOCK = 16  # pixels that share their colours
JPEG_SHIFT = 5
VARIANTS = {
    "again": "every image compressed as JPEG once more, its blocks five pixels beside the first "
    "ones, to see what one compression costs",
    "plain": "by a loop of torch and torchvision alone instead of the zoo's training",
    "undecayed": "as timm trains by default: norms and biases without weight decay, the last "
    "batch of an epoch left out",
}


def main() -> None:
    """Train what is asked for, or compare what has been trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", nargs="?")
    parser.add_argument("test", nargs="?")
    parser.add_argument("--cell", type=int, help="Index of one cell in NATS-Bench.")
    help_on_variants = "; ".join(f"{name}: {what}" for name, what in VARIANTS.items())
    parser.add_argument("--variant", choices=VARIANTS, help=help_on_variants)
    parser.add_argument("--seed", type=int, default=PROTOCOL.seed)
    parser.add_argument("--work", type=Path, help="Where trainings are kept, to resume them.")
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    if arguments.summary:
        summarise()
        return
    if not (arguments.train and arguments.test):
        parser.error("which data? Give the training and the test images.")
    cells = json.loads(CELLS.read_text("utf-8"))["cells"]
    wanted = [cell for cell in cells if arguments.cell in (None, cell["index"])]
    if not wanted:
        parser.error(f"--cell: one of {', '.join(str(cell['index']) for cell in cells)}")
    work = arguments.work or Path(tempfile.mkdtemp(prefix="nasbench201-"))
    for cell in wanted:
        variant = arguments.variant
        name = "-".join(filter(None, (f"{cell['index']:05}", f"seed{arguments.seed}", variant)))
        if arguments.cell is None and (RESULTS / f"{name}.json").exists():
            continue
        data = [open_dataset(path, split="train") for path in (arguments.train, arguments.test)]
        recipe = msgspec.structs.replace(PROTOCOL, seed=arguments.seed)
        if variant == "again":
            data = [Recompressed(images) for images in data]
        elif variant == "undecayed":
            recipe = msgspec.structs.replace(recipe, decay_norms=False, drop_last=True)
        train_cell(cell, *data, name=name, variant=variant, recipe=recipe, work=work)


def train_cell(
    cell: dict[str, Any],
    train: Any,
    test: Any,
    *,
    name: str,
    variant: str | None,
    recipe: Recipe,
    work: Path,
) -> None:
    """Train one cell; write its result and its log."""
    torch.manual_seed(recipe.seed)
    network = build_network(cell["architecture"])
    train_in_some_way = train_without_the_zoo if variant == "plain" else train_with_the_zoo
    epochs = train_in_some_way(network, train, test, recipe, work / name)
    top1 = float(epochs[-1]["val_top1_percent"])
    content = {
        "cell": {key: cell[key] for key in ("index", "architecture", "reported_percent")},
        "variant": variant,
        "top1_count": round(top1 * len(test) / 100),
        "samples": len(test),
        "top1_percent": top1,
        "difference_points": round(top1 - cell["reported_percent"], 2),
        "recipe": msgspec.to_builtins(recipe),
        "epochs": epochs,
        "environment": describe_environment(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(json.dumps({key: content[key] for key in ("top1_percent", "difference_points")}))


def train_with_the_zoo(
    network: Network, train: Any, test: Any, recipe: Recipe, work: Path
) -> list[dict[str, Any]]:
    """Train as `zoo finetune` does, resumable in `work`; return the epochs."""
    train_network(
        network,
        train,
        test,
        preprocessing=PREPROCESSING,
        recipe=recipe,
        out_dir=work,
        progress=lambda line: print(f"{work.name}: {line}", flush=True),
    )
    rows = (work / "results.csv").read_text("utf-8").splitlines()
    return [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]


def train_without_the_zoo(
    network: Network, train: Any, test: Any, recipe: Recipe, work: Path
) -> list[dict[str, Any]]:
    """Train by torch and torchvision alone; return the epochs."""
    epochs = []
    for epoch in train_plainly(network, train, test, preprocessing=PREPROCESSING, recipe=recipe):
        print(f"{work.name}: {epoch}", flush=True)
        epochs.append(epoch)
    return epochs


def build_network(notation: str) -> Network:
    """Return the cell in the benchmark's skeleton, C = 16 and N = 5, initialised as there."""
    space = NasBench201()
    network = space.build(space.decode(notation))
    kinds: tuple[Any, ...] = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    for module in network.modules():
        for kind in kinds:
            if isinstance(module, kind):
                kind.reset_parameters(module)  # as PyTorch initialises, not as the zoo does
    return network


class Recompressed(ImageClasses):
    """The same images, each compressed as JPEG once more: what one compression costs.

    On the same blocks a second compression finds nearly every number rounded already and changes
    nothing (50 dB); on other blocks it takes as much as a first one (32 dB).
    """

    def __init__(self, images: ImageClasses) -> None:
        super().__init__(images, name=images.name, class_names=images.class_names)
        self.find_targets = images.find_targets

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, target = super().__getitem__(index)[:2]
        around = (JPEG_SHIFT, JPEG_BLOCK - JPEG_SHIFT)
        pixels = np.pad(np.asarray(image.convert("RGB")), (around, around, (0, 0)), "edge")
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "JPEG", quality=JPEG_QUALITY)
        box = (JPEG_SHIFT, JPEG_SHIFT, JPEG_SHIFT + image.width, JPEG_SHIFT + image.height)
        return Image.open(stored).crop(box), target


def summarise() -> None:
    """Compare the trained cells with the reported figures; write a table and a figure."""
    known = json.loads(CELLS.read_text("utf-8"))
    trained = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("[0-9]*.json"))]
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for row in trained:
        way, seed = row["variant"] or "protocol", row["recipe"]["seed"]
        if seed != PROTOCOL.seed:
            way += f", seed {seed}"
        found.setdefault(row["cell"]["index"], {})[way] = row
    cells = [
        {
            **cell,
            "top1_percent": {way: row["top1_percent"] for way, row in rows.items()},
            "train_loss": {way: losses(row["epochs"]) for way, row in rows.items()},
        }
        for cell in sorted(known["cells"], key=lambda cell: cell["reported_percent"])
        if (rows := found.get(cell["index"]))
    ]
    others = {way for cell in cells for way in cell["top1_percent"]} - {"protocol"}
    ways = {way: compare(cells, way) for way in ["protocol", *sorted(others)]}
    summary = {
        "source": known["source"],
        "curve_source": known["curve_source"],
        "seed_spread_points": known["seed_spread_points"],
        "cells": cells,
        "variants": VARIANTS,
        "ways": ways,
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    print(json.dumps(ways, indent=2))
    draw(cells, list(ways), known["seed_spread_points"])


def losses(epochs: list[dict[str, Any]]) -> list[float]:
    """Return the training loss of each epoch."""
    return [round(float(epoch["train_loss"]), 4) for epoch in epochs]


def compare(cells: list[dict[str, Any]], way: str) -> dict[str, Any]:
    """Return what the cells that were trained in one way say together."""
    from scipy.stats import spearmanr

    top1 = [cell["top1_percent"] for cell in cells if way in cell["top1_percent"]]
    ours = [row[way] for row in top1]
    theirs = [cell["reported_percent"] for cell in cells if way in cell["top1_percent"]]
    ranked: Any = spearmanr(theirs, ours) if len(ours) > 1 else None
    return {
        "cells": len(ours),
        "mean_difference_points": _mean([a - b for a, b in zip(ours, theirs, strict=True)]),
        "spearman": ranked and round(ranked.statistic, 4),
        "mean_difference_from_protocol_points": _mean(
            [row[way] - row["protocol"] for row in top1 if "protocol" in row]
        ),
    }


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 2) if values else None


def draw(cells: list[dict[str, Any]], ways: list[str], spread: float) -> None:
    """Draw reproduced over reported accuracy, with a band of the seeds' spread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="reported top-1 (%)", ylabel="reproduced top-1 (%)")
    for way, marker in zip(ways, "oxv+s^", strict=False):
        found = [cell for cell in cells if way in cell["top1_percent"]]
        axes.plot(
            [cell["reported_percent"] for cell in found],
            [cell["top1_percent"][way] for cell in found],
            marker,
            label=way,
        )
    ends = [cells[0]["reported_percent"] - 3, cells[-1]["reported_percent"] + 3]
    low, high = ([end + sign * spread for end in ends] for sign in (-1, 1))
    axes.fill_between(ends, low, high, color="tab:gray", alpha=0.2, label="spread of seeds")
    axes.plot(ends, ends, color="tab:gray", linewidth=1)
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    figure.savefig(RESULTS / "summary.png", dpi=120)


if __name__ == "__main__":
    main()
