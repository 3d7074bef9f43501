"""`finetune`: from the name of a searched model and images to a new model with a name."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from zoo.checkpoints.load import native_metadata
from zoo.errors import DatasetError, InvalidArgument
from zoo.evaluation.datasets import ImageClasses, open_dataset
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.run import TrainingResult, train_network
from zoo.manifest import Entry, find_entry
from zoo.networks.cost import count_macs, count_parameters
from zoo.networks.network import Network
from zoo.records import ArchitectureFile, Manifest, ModelRecord, Reproduction, Weights
from zoo.registry import find_space, load_searched_model
from zoo.verification import measure_golden


class Finetuned(NamedTuple):
    """A trained network with its best weights, and where its files are."""

    name: str
    network: Network
    result: TrainingResult
    manifest: Path


def finetune(
    name: str,
    train_data: Any,
    val_data: Any = None,
    *,
    out_dir: str | Path,
    recipe: Recipe | None = None,
    from_scratch: bool = False,
    new_name: str | None = None,
    command: str = "zoo.finetune",
    resume: bool = True,
    progress: Any = None,
    check_images: bool = False,
    **options: Any,
) -> Finetuned:
    """Train the searched model `name` on images and return it with its best weights.

    `out_dir` gets best and last weights as safetensors, results.csv, curve.png, and a
    manifest: with it in `ZOO_MANIFESTS` or `zoo.add_manifest`, the result loads by its
    own name like any other model. The same call goes on after an interruption.

    Args:
        train_data: A folder or tar of class folders, a name timm's data sets know, or a data set.
        val_data: The same; None holds out a part of each class (`recipe.val_fraction`).
        from_scratch: True starts from random weights instead of the published ones.
        new_name: Name of the result; `<name>-<out_dir's name>` if None.
        check_images: Decode every image first, and name all that cannot be.
        command: What the result's record says repeats the measurement.
        options: As for `load_searched_model`: `drop_path`, `checkpoint`, `cache_dir`, ….

    Raises:
        DatasetError, TrainingError: see `zoo.errors`, and those of `load_searched_model`.
    """
    entry = find_entry(name)
    out_dir, recipe = Path(out_dir), recipe or Recipe()
    new_name = _check_name(new_name or f"{entry.name}-{out_dir.resolve().name}")
    images = open_dataset(train_data, split="train")
    labels = _class_names(images)
    torch.manual_seed(recipe.seed)  # the new classifier, or all of it, is drawn from this
    network = load_searched_model(
        name, pretrained=not from_scratch, num_classes=len(labels), **options
    )
    network.labels = labels
    result = train_network(
        network,
        images,
        val_data,
        preprocessing=entry.preprocessing,
        recipe=recipe,
        out_dir=out_dir,
        resume=resume,
        labels=labels,
        metadata={**native_metadata(network), "zoo.name": new_name},
        progress=progress,
        check_images=check_images,
    )
    manifest = _write_manifest(out_dir, new_name, entry, network, result, command)
    return Finetuned(new_name, network, result, manifest)


def _write_manifest(
    out_dir: Path,
    new_name: str,
    entry: Entry,
    network: Network,
    result: TrainingResult,
    command: str,
) -> Path:
    size = entry.preprocessing.crop
    record = ModelRecord(
        space=entry.record.space,
        architecture="architecture.json",
        settings=_settings(entry, network),
        dataset=new_name,
        labels=network.labels,
        parameters=count_parameters(network),
        macs=count_macs(network, size),
        preprocessing=entry.preprocessing,
        license=entry.record.license,
        paper=entry.record.paper,
        weights=(
            Weights(
                sources=(f"file://{result.best_path.name}",),
                format="native",
                sha256=result.best_sha256,
                size_bytes=result.best_size_bytes,
                reproduced=(_measured(result, command),),
            ),
        ),
        golden=(measure_golden(network, result.best_sha256, in_chans=network.in_chans, size=size),),
        notes=f"{entry.name} trained on other images; epoch {result.best_epoch} of {result.epochs}",
    )
    path = out_dir / "manifest.json"
    architecture = ArchitectureFile(space=entry.record.space, choices=network.architecture)
    # Only the first of several processes has the files of the training.
    if result.is_main_process:
        _write_json(out_dir / "architecture.json", architecture)
        _write_json(path, Manifest(models={new_name: record}))
    return path


def _settings(entry: Entry, network: Network) -> dict[str, Any]:
    space = find_space(entry.record.space)
    # Published weights may need settings that a network trained from scratch has not.
    published = space.from_settings(entry.settings).architecture_hash(network.architecture)
    own = entry.settings if network.architecture_hash == published else entry.record.settings
    settings = {**own, "num_classes": network.num_classes}
    default = space().in_chans
    return settings if network.in_chans == default else {**settings, "in_chans": network.in_chans}


def _measured(result: TrainingResult, command: str) -> Reproduction:
    best = result.best
    return Reproduction(
        dataset="validation images of the training",
        top1_percent=round(best.top1_percent, 4),
        top5_percent=None if best.top5_percent is None else round(best.top5_percent, 4),
        samples=best.samples,
        date=date.today().isoformat(),
        command=command,
    )


def _class_names(images: ImageClasses) -> tuple[str, ...]:
    targets = images.find_targets()
    if not targets:
        raise DatasetError(f"{images.name}: no images to train on")
    names = images.class_names or tuple(f"class {index}" for index in range(max(targets) + 1))
    if len(names) == 1:
        raise DatasetError(
            f"{images.name}: a single class, {names[0]!r}, and nothing to tell it from. "
            "Name the folder that holds one folder for each class."
        )
    return names


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise InvalidArgument(
            f"new_name={name!r}: a model name has lower-case letters, digits, '.', '_' and '-'"
        )
    return name


def _write_json(path: Path, record: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
