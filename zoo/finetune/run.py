"""`finetune`: train a network on image classes, keep the best weights, survive interruptions."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import torch
from torch import nn

from zoo.errors import TrainingError
from zoo.evaluation.accuracy import Measured, evaluate
from zoo.evaluation.datasets import ImageClasses, open_dataset
from zoo.evaluation.preflight import check_dataset
from zoo.finetune import outputs
from zoo.finetune.data import Augmented, split_by_class
from zoo.finetune.loop import Interrupted, Trainer
from zoo.finetune.recipe import Recipe
from zoo.finetune.state import EpochResult, Progress, read_state, save_state
from zoo.preprocessing import build_train_transform
from zoo.records import Preprocessing

logger = logging.getLogger(__name__)

Report = Callable[[str], None]


class FinetuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of a training; epochs are counted from 1."""

    best_epoch: int
    best: Measured
    last: Measured
    epochs: int
    best_path: Path
    last_path: Path
    best_sha256: str
    best_size_bytes: int
    class_names: tuple[str, ...] | None


def finetune(
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
    progress: Report | None = None,
) -> FinetuneResult:
    """Train `model` and return its best epoch; the model then has the best weights.

    `out_dir` gets best.safetensors, last.safetensors, results.csv, curve.png,
    recipe.json and last/state.pt, from which the same call goes on after an
    interruption, with the numbers an uninterrupted training would have given.
    Runs on all processes of `accelerate launch`, which share each batch.

    Args:
        train_data: What `open_dataset` opens, or a data set of (image, class index).
        val_data: The same; None holds out a part of each class of the training data.
        labels: The network's class names in order, checked against the data's.
        metadata: Stored in both safetensors files.
        progress: Called with one line of text per epoch and every half minute.

    Raises:
        DatasetError: the data does not fit the network, or an image cannot be decoded.
        TrainingError: the recipe cannot be used, the loss became NaN, memory ran out, the
            training was told to stop, or the state in `out_dir` is of another training.
    """
    accelerator = _build_accelerator(recipe)
    train, val = _open_data(train_data, val_data, recipe)
    classes = _find_num_classes(model, train)
    for images in (train, val):
        check_dataset(images, classes, labels, decode=False).raise_problems()
    main = accelerator.is_main_process
    report = _build_report(progress if main else None)
    with stopping_on_sigterm() as must_stop, _deterministic():
        trainer = Trainer(
            model,
            Augmented(train, _build_augmentation(preprocessing, recipe), recipe.seed),
            recipe,
            accelerator,
            classes,
            must_stop,
            report if main else _silent,
        )
        training = _Training(trainer, val, preprocessing, Path(out_dir), metadata, report)
        training.fixed = _fixed(recipe, preprocessing, train, val, accelerator.num_processes)
        training.start(resume)
        training.run()
    return training.finish(train.class_names)


class _Training:
    """Epochs with evaluation, state and files; one object per call of `finetune`."""

    fixed: dict[str, Any]

    def __init__(
        self,
        trainer: Trainer,
        val: ImageClasses,
        preprocessing: Preprocessing,
        out_dir: Path,
        metadata: Mapping[str, str] | None,
        report: Report,
    ) -> None:
        self.trainer, self.val, self.preprocessing = trainer, val, preprocessing
        self.out_dir, self.metadata, self.report = out_dir, metadata, report
        self.main = trainer.accelerator.is_main_process
        self.state_path = out_dir / "last" / "state.pt"
        self.best_path = out_dir / "best.safetensors"
        self.last_path = out_dir / "last.safetensors"

    def start(self, resume: bool) -> None:
        accelerator = self.trainer.accelerator
        found = read_state(self.state_path, self.fixed) if resume else None
        accelerator.wait_for_everyone()  # nobody may write before all have read
        if found is not None:
            self.trainer.load_state_dict(*found)
            at = self.trainer.progress
            self.report(
                f"going on after epoch {at.epoch} and {at.step} updates ({self.state_path})"
            )
        elif self.main:
            shutil.rmtree(self.state_path.parent, ignore_errors=True)
            self.out_dir.mkdir(parents=True, exist_ok=True)
        if self.main:
            outputs.write_recipe(self.trainer.recipe, self.out_dir / "recipe.json")

    def run(self) -> None:
        recipe = self.trainer.recipe
        while self.trainer.progress.epoch < recipe.epochs and not self._out_of_patience():
            try:
                train_loss = self.trainer.train_epoch()
            except Interrupted:
                self._save()
                raise TrainingError(
                    f"stopped on request; the state is in {self.state_path}. "
                    "The same call goes on from there."
                ) from None
            except torch.OutOfMemoryError as error:
                self._fail(f"out of memory. Lower batch_size in the recipe. ({error})", error)
            except TrainingError as error:
                self._fail(str(error), error)
            self._finish_epoch(train_loss)

    def finish(self, class_names: tuple[str, ...] | None) -> FinetuneResult:
        accelerator, history = self.trainer.accelerator, self.trainer.progress.history
        if self.main:
            outputs.write_weights(self.trainer.evaluated, self.last_path, self.metadata)
            outputs.write_results(history, self.out_dir / "results.csv")
            outputs.write_curve(history, self.out_dir / "curve.png")
        accelerator.wait_for_everyone()
        from safetensors.torch import load_file

        model = self.trainer.model
        model.load_state_dict(load_file(self.best_path))
        model.requires_grad_(True)
        best = self.trainer.progress.best
        assert best is not None
        return FinetuneResult(
            best_epoch=best.epoch,
            best=best.measured,
            last=history[-1].measured,
            epochs=len(history),
            best_path=self.best_path,
            last_path=self.last_path,
            best_sha256=outputs.find_sha256(self.best_path),
            best_size_bytes=self.best_path.stat().st_size,
            class_names=class_names,
        )

    def _finish_epoch(self, train_loss: float) -> None:
        trainer, at = self.trainer, self.trainer.progress
        trainer.share_statistics()
        measured = evaluate(
            trainer.evaluated,
            self.val,
            preprocessing=self.preprocessing,
            batch_size=max(1, trainer.recipe.batch_size // trainer.accelerator.num_processes),
            workers=trainer.recipe.workers,
            device=trainer.accelerator.device,
            channels_last=trainer.recipe.channels_last,
        )
        images = at.step * trainer.batches.batch_size
        row = EpochResult(
            epoch=at.epoch + 1,
            lr=trainer.lr,
            train_loss=train_loss,
            measured=measured,
            images_per_second=images / at.seconds,
            seconds=at.seconds,
        )
        at.history.append(row)
        at.epoch, at.step, at.loss_sum, at.seconds = at.epoch + 1, 0, 0.0, 0.0
        if self.main:
            # Before the state: a kill in between repeats the epoch and writes the same file.
            if at.best is row:
                outputs.write_weights(trainer.evaluated, self.best_path, self.metadata)
            self._save()
            outputs.write_results(at.history, self.out_dir / "results.csv")
            outputs.write_curve(at.history, self.out_dir / "curve.png")
        self.report(
            f"epoch {row.epoch}/{trainer.recipe.epochs} loss {train_loss:.4f} "
            f"top-1 {measured.top1_percent:.2f} % {row.images_per_second:.0f} images/s"
        )

    def _save(self) -> None:
        if self.main:
            save_state(
                self.state_path, self.trainer.state_dict(), self.trainer.progress, self.fixed
            )

    def _out_of_patience(self) -> bool:
        at, patience = self.trainer.progress, self.trainer.recipe.patience
        if patience is None or at.best is None:
            return False
        return at.epoch - at.best.epoch >= patience

    def _fail(self, reason: str, error: Exception) -> NoReturn:
        finished = len(self.trainer.progress.history)
        kept = (
            f"The state after epoch {finished} is in {self.state_path}."
            if finished
            else "No epoch was finished, so there is no state to go on from."
        )
        raise TrainingError(f"{reason} {kept}") from error


@contextmanager
def stopping_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM has arrived since."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # only the main thread may install handlers
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _deterministic() -> Iterator[None]:
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


def _build_accelerator(recipe: Recipe) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # One process may train twice with different precisions; accelerate remembers the first.
    AcceleratorState._reset_state()
    try:
        return Accelerator(mixed_precision=recipe.mixed_precision)
    except ValueError as error:
        raise TrainingError(
            f"recipe: mixed_precision {recipe.mixed_precision!r} does not work here ({error})"
        ) from error


def _open_data(train_data: Any, val_data: Any, recipe: Recipe) -> tuple[ImageClasses, ImageClasses]:
    train = open_dataset(train_data, split="train")
    if val_data is not None:
        return train, open_dataset(val_data, split="validation")
    kept, held_out = split_by_class(train.find_targets(), recipe.val_fraction, recipe.seed)
    return train.select(kept), train.select(held_out)


def _build_augmentation(preprocessing: Preprocessing, recipe: Recipe) -> Any:
    return build_train_transform(
        preprocessing,
        crop=recipe.crop,
        scale=recipe.crop_scale,
        horizontal_flip=recipe.horizontal_flip,
        auto_augment=recipe.auto_augment,
        color_jitter=recipe.color_jitter,
        random_erasing=recipe.random_erasing,
    )


def _find_num_classes(model: nn.Module, data: ImageClasses) -> int:
    count = getattr(model, "num_classes", None)
    if count is None:
        count = len(data.class_names or ()) or max(data.find_targets()) + 1
    return int(count)


def _fixed(
    recipe: Recipe,
    preprocessing: Preprocessing,
    train: ImageClasses,
    val: ImageClasses,
    world_size: int,
) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return {
        "recipe": msgspec.to_builtins(recipe),
        "preprocessing": msgspec.to_builtins(preprocessing),
        "processes": world_size,
        "train_images": len(train),
        "val_images": len(val),
        "class_names": list(train.class_names) if train.class_names is not None else None,
    }


def _build_report(progress: Report | None) -> Report:
    def report(line: str) -> None:
        logger.info(line)
        if progress is not None:
            progress(line)

    return report


def _silent(line: str) -> None:
    del line
