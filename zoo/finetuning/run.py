"""`train_network`: train on image classes, keep the best weights, survive interruptions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from zoo.errors import TrainingError
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.measured import Measured
from zoo.evaluation.memory import keeping_memory
from zoo.evaluation.preflight import require_usable
from zoo.evaluation.processes import join_processes, must_use_cpu
from zoo.finetuning.data import Augmented, build_augmentation, open_both
from zoo.finetuning.interrupt import stopping_on_signals
from zoo.finetuning.loop import Trainer
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.training import Training
from zoo.hub.checksum import file_sha256
from zoo.preprocessing import Normalise
from zoo.records import Preprocessing

LOG = logging.getLogger("zoo")


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of a training; epochs are counted from 1.

    All processes get the same, but for `is_main_process`, true in the one that wrote the files.
    """

    best_epoch: int
    best: Measured
    last: Measured
    epochs: int
    best_path: Path
    last_path: Path
    best_sha256: str
    best_size_bytes: int
    class_names: tuple[str, ...] | None
    is_main_process: bool


def train_network(
    model: nn.Module,
    train_data: Any,
    val_data: Any = None,
    *,
    preprocessing: Preprocessing,
    recipe: Recipe,
    out_dir: Path,
    resume: bool = True,
    labels: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    check_images: bool = False,
) -> TrainingResult:
    """Train `model` and return its best epoch; the model then has the best weights, in eval mode.

    `out_dir` gets best.safetensors, last.safetensors, results.csv, curve.png,
    recipe.json and last/state.pt, from which the same call goes on after an
    interruption, with the numbers an uninterrupted training would have given.
    With a moving average, its weights are the evaluated and published ones.
    All processes of `torchrun` or `accelerate launch` share each batch.

    Args:
        train_data: What `open_dataset` opens, or a data set of (image, class index).
        val_data: The same; None takes the validation folder beside the training folder, or
            else holds out a part of each class of the training data.
        resume: Go on from the state in `out_dir`; False starts again and overwrites it.
        labels: The network's class names in order, checked against the data's.
        metadata: Stored in both safetensors files.
        progress: Called with one line of text per epoch and every half minute.
        check_images: Decode every image first, and name all that cannot be.

    Raises:
        DatasetError: the data does not fit the network, or an image cannot be decoded.
        TrainingError: the recipe cannot be used, the loss became NaN, memory ran out, the
            training was told to stop, or the state in `out_dir` is of another training.
    """
    accelerator = _build_accelerator(recipe)
    train, val = open_both(train_data, val_data, recipe)
    num_classes = _find_num_classes(model, train)
    for images in (train, val):
        require_usable(images, num_classes, labels or train.class_names, decode=check_images)
    report = _build_report(progress, accelerator.is_main_process)
    transform = build_augmentation(preprocessing, recipe)
    keeping = keeping_memory(accelerator.device)
    with stopping_on_signals() as must_stop, _deterministic(), keeping:
        trainer = Trainer(
            model,
            Augmented(train, transform, recipe.seed),
            recipe,
            accelerator,
            num_classes,
            must_stop,
            report,
            normalise=Normalise(preprocessing),
        )
        training = Training(
            trainer,
            val,
            preprocessing,
            fixed=_find_fixed(recipe, preprocessing, train, val, accelerator.num_processes),
            out_dir=Path(out_dir),
            metadata=metadata,
            report=report,
        )
        training.start(resume)
        training.run()
        training.finish()
    return _summarise(training, train.class_names)


def _summarise(training: Training, class_names: tuple[str, ...] | None) -> TrainingResult:
    progress = training.trainer.progress
    best = progress.best
    assert best is not None
    return TrainingResult(
        best_epoch=best.epoch,
        best=best.measured,
        last=progress.history[-1].measured,
        epochs=len(progress.history),
        best_path=training.best_path,
        last_path=training.last_path,
        best_sha256=file_sha256(training.best_path),
        best_size_bytes=training.best_path.stat().st_size,
        class_names=class_names,
        is_main_process=training.main,
    )


def _build_accelerator(recipe: Recipe) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # One process may train twice with different precisions; accelerate insists on the first.
    AcceleratorState._reset_state()
    join_processes()
    try:
        return Accelerator(cpu=must_use_cpu(), mixed_precision=recipe.mixed_precision)
    except ValueError as error:
        raise TrainingError(
            f"recipe: mixed_precision {recipe.mixed_precision!r} does not work here ({error})"
        ) from error


def _find_num_classes(model: nn.Module, data: ImageClasses) -> int:
    count: Any = getattr(model, "num_classes", None)
    if count is None:
        count = len(data.class_names or ()) or max(data.find_targets()) + 1
    return int(count)


def _find_fixed(
    recipe: Recipe,
    preprocessing: Preprocessing,
    train: ImageClasses,
    val: ImageClasses,
    processes: int,
) -> dict[str, Any]:
    """Return what must stay the same for a training to go on."""
    return {
        "recipe": msgspec.to_builtins(recipe),
        "preprocessing": msgspec.to_builtins(preprocessing),
        "processes": processes,
        "train_images": len(train),
        "val_images": len(val),
        "class_names": list(train.class_names) if train.class_names is not None else None,
    }


def _build_report(progress: Callable[[str], None] | None, main: bool) -> Callable[[str], None]:
    def report(line: str) -> None:
        if main:
            LOG.info(line)
            if progress is not None:
                progress(line)

    return report


def _deterministic() -> Any:
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
