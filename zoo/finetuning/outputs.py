"""Files of a training for people and for other programs; each is replaced whole."""

from __future__ import annotations

import csv
import functools
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from torch import nn

from zoo.evaluation.files import replace_file
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.state import EpochResult

LOG = logging.getLogger("zoo")

COLUMNS = "epoch,lr,train_loss,val_top1_percent,val_top5_percent,images_per_second,seconds"


def write_weights(model: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the state dict as safetensors."""
    from safetensors.torch import save

    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    replace_file(path, save(tensors, metadata=dict(metadata) if metadata else None))


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill the model with what `write_weights` wrote."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe as indented JSON."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(recipe), indent=2) + b"\n")


def write_results(history: Sequence[EpochResult], path: Path) -> None:
    """Write one CSV row per epoch."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS.split(","))
    for row in history:
        top5 = row.measured.top5_percent
        rows.writerow(
            [
                row.epoch,
                f"{row.lr:.6g}",
                f"{row.train_loss:.6f}",
                f"{row.measured.top1_percent:.4f}",
                "" if top5 is None else f"{top5:.4f}",
                f"{row.images_per_second:.1f}",
                f"{row.seconds:.1f}",
            ]
        )
    replace_file(path, text.getvalue().encode())


def write_curve(history: Sequence[EpochResult], path: Path) -> None:
    """Draw training loss and validation top-1 over epochs; needs matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        _say_once("no curve.png: matplotlib is not installed (pip install 'searched-zoo[plot]')")
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot(xlabel="epoch", ylabel="training loss")
    right = left.twinx()
    right.set_ylabel("validation top-1 (%)")
    epochs = [row.epoch for row in history]
    left.plot(epochs, [row.train_loss for row in history], color="tab:red", marker=".")
    top1 = [row.measured.top1_percent for row in history]
    right.plot(epochs, top1, color="tab:blue", marker=".")
    left.yaxis.label.set_color("tab:red")
    right.yaxis.label.set_color("tab:blue")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    replace_file(path, image.getvalue())


@functools.cache
def _say_once(message: str) -> None:
    LOG.warning(message)
