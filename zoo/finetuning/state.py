"""The state of a training on disk: written whole or not at all, and checked before use."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import torch

from zoo.errors import TrainingError
from zoo.evaluation.measured import Measured
from zoo.finetuning.recipe import Recipe, find_differences

LOG = logging.getLogger("zoo")

FORMAT = 1


class EpochResult(msgspec.Struct, frozen=True, kw_only=True):
    """One finished epoch, counted from 1; `lr` is the largest at its end."""

    epoch: int
    lr: float
    train_loss: float
    measured: Measured
    images_per_second: float
    seconds: float


class Progress(msgspec.Struct, kw_only=True):
    """Where a training stands: `step` updates of epoch `epoch` (from 0) are done."""

    epoch: int = 0
    step: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[EpochResult] = []

    def describe(self, epochs: int, steps: int, batch_size: int) -> str:
        """Return a line on the epoch that is under way."""
        return (
            f"epoch {self.epoch + 1}/{epochs} update {self.step}/{steps} "
            f"loss {self.loss_sum / self.step:.4f} "
            f"{self.step * batch_size / self.seconds:.0f} images/s"
        )

    @property
    def best(self) -> EpochResult | None:
        """The first epoch with the highest top-1 count."""
        return max(self.history, key=lambda row: row.measured.top1_count, default=None)


def save_state(
    path: Path, tensors: dict[str, Any], progress: Progress, fixed: dict[str, Any]
) -> None:
    """Write a state so that `path` always holds a whole one.

    Args:
        tensors: State dicts of the model, its average, the optimizer and the scaler.
        fixed: What may not change when the training goes on; see `find_changes`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "format": FORMAT,
        "versions": find_versions(),
        "fixed": fixed,
        "progress": msgspec.to_builtins(progress),
        "tensors": tensors,
    }
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_state(path: Path, fixed: dict[str, Any]) -> tuple[dict[str, Any], Progress] | None:
    """Return (tensors, progress), or None when there is no state.

    Raises:
        TrainingError: the file is damaged, of another format, or of another training.
    """
    if not path.exists():
        return None
    advice = "Pass resume=False (--no-resume) to start again, or choose another out_dir (--out)."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["format"]
    except Exception as error:  # zip, pickle and key errors all mean the same here
        raise TrainingError(
            f"{path}: damaged or not a training state ({error}). {advice}"
        ) from error
    if found != FORMAT:
        raise TrainingError(f"{path}: expected state format {FORMAT}, got {found}. {advice}")
    try:
        differences = find_changes(state["fixed"], fixed)
        progress = msgspec.convert(state["progress"], Progress)
    except (KeyError, msgspec.ValidationError) as error:
        raise TrainingError(f"{path}: written by another version ({error}). {advice}") from error
    if differences:
        raise TrainingError(
            f"{path} belongs to another training: {'; '.join(differences)}. {advice}"
        )
    versions = state.get("versions", {})
    if versions != find_versions():
        LOG.warning(
            "%s was written with %s, now %s: numbers may differ slightly",
            path, versions, find_versions(),
        )  # fmt: skip
    return state["tensors"], progress


def find_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the numbers of a training."""
    return {name: importlib.metadata.version(name) for name in ("torch", "timm", "numpy", "pillow")}


def find_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return `field: old -> new` for everything that would change the numbers."""
    recipes = [msgspec.convert(each["recipe"], Recipe) for each in (old, new)]
    changes = find_differences(*recipes)
    for field in sorted((old.keys() | new.keys()) - {"recipe"}):
        if old.get(field) != new.get(field):
            changes.append(f"{field}: {old.get(field)} -> {new.get(field)}")
    return changes
