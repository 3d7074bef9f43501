"""A whole training: epochs with evaluation, state, files, and an end for every reason to stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from zoo.errors import TrainingError, VerificationError
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.processes import share_buffers
from zoo.finetuning import outputs
from zoo.finetuning.interrupt import Interrupted
from zoo.finetuning.loop import Trainer
from zoo.finetuning.state import EpochResult, read_state, save_state
from zoo.records import Preprocessing


class Training:
    """Drives a `Trainer` epoch by epoch and keeps `out_dir` up to date.

    Only the main process writes. Files are written before the state: a kill in
    between repeats the epoch and writes the same files again.
    """

    def __init__(
        self,
        trainer: Trainer,
        val: ImageClasses,
        preprocessing: Preprocessing,
        *,
        fixed: dict[str, Any],
        out_dir: Path,
        metadata: Mapping[str, str] | None,
        report: Callable[[str], None],
    ) -> None:
        self.trainer, self.val, self.preprocessing = trainer, val, preprocessing
        self.fixed, self.out_dir, self.metadata, self.report = fixed, out_dir, metadata, report
        self.main = trainer.accelerator.is_main_process
        self.state_path = out_dir / "last" / "state.pt"
        self.best_path = out_dir / "best.safetensors"
        self.last_path = out_dir / "last.safetensors"

    def start(self, resume: bool) -> None:
        """Go back to the saved state, or clear it.

        Raises:
            TrainingError: the state is damaged or of another training, or processes see
                different folders.
        """
        accelerator = self.trainer.accelerator
        found = read_state(self.state_path, self.fixed) if resume else None
        seen = torch.tensor(float(found is not None), device=accelerator.device)
        if accelerator.reduce(seen, "mean") not in (0, 1):  # also waits until all have read
            raise TrainingError(f"{self.out_dir}: all processes must see the same folder")
        if found is not None:
            self.trainer.load_state_dict(*found)
            at = self.trainer.progress
            if at.history and not self.best_path.exists():
                raise TrainingError(f"{self.best_path} is missing; pass resume=False")
            self.report(f"going on after epoch {at.epoch} and {at.step} updates of the next")
        elif self.main:
            shutil.rmtree(self.state_path.parent, ignore_errors=True)
            try:
                self.out_dir.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TrainingError(
                    f"{self.out_dir}: no folder for results can be made there ({error.strerror}). "
                    "Choose another out_dir (--out)."
                ) from None
        if self.main:
            outputs.write_recipe(self.trainer.recipe, self.out_dir / "recipe.json")

    def run(self) -> None:
        """Train until the last epoch, or until patience ends.

        Raises:
            TrainingError: a signal to stop, NaN, or memory that ran out; the message says where
                the state is.
        """
        while not self._is_finished():
            try:
                train_loss = self.trainer.train_epoch()
                self._finish_epoch(train_loss)
            except Interrupted:
                self._stop()
            except (TrainingError, VerificationError) as error:
                self._fail(str(error), error)
            except (RuntimeError, MemoryError) as error:
                if _is_out_of_memory(error):
                    self._fail(f"out of memory ({error}). Lower batch_size.", error)
                # A signal to all processes ends those that load validation images.
                if self.trainer.must_stop() and self.trainer.is_epoch_trained:
                    self._stop()
                raise

    def finish(self) -> nn.Module:
        """Write the last weights, load the best ones and return the model."""
        trainer = self.trainer
        if self.main:
            outputs.write_weights(trainer.evaluated, self.last_path, self.metadata)
        trainer.accelerator.wait_for_everyone()
        trainer.restore_trainable()
        outputs.load_weights(trainer.model, self.best_path)
        return trainer.model.eval()

    def _is_finished(self) -> bool:
        at, recipe = self.trainer.progress, self.trainer.recipe
        if at.epoch >= recipe.epochs:
            return True
        if recipe.patience is None or at.best is None or at.step:
            return False
        return at.epoch - at.best.epoch >= recipe.patience

    def _finish_epoch(self, train_loss: float) -> None:
        trainer, at = self.trainer, self.trainer.progress
        share_buffers(trainer.model)  # as DDP does before every update
        share_buffers(trainer.evaluated)
        measured = evaluate(
            trainer.evaluated,
            self.val,
            preprocessing=self.preprocessing,
            batch_size=max(1, trainer.batches.batch_size // trainer.batches.world_size),
            workers=trainer.recipe.workers,
            device=trainer.accelerator.device,
            channels_last=trainer.recipe.channels_last,
        )
        row = EpochResult(
            epoch=at.epoch + 1,
            lr=trainer.lr,
            train_loss=train_loss,
            measured=measured,
            images_per_second=trainer.batches.samples_per_epoch / at.seconds,
            seconds=at.seconds,
        )
        at.history.append(row)
        at.epoch, at.step, at.loss_sum, at.seconds = at.epoch + 1, 0, 0.0, 0.0
        if self.main:
            if at.best is row:
                outputs.write_weights(trainer.evaluated, self.best_path, self.metadata)
            outputs.write_results(at.history, self.out_dir / "results.csv")
            outputs.write_curve(at.history, self.out_dir / "curve.png")
            self._save()
        self.report(
            f"epoch {row.epoch}/{trainer.recipe.epochs} loss {train_loss:.4f} "
            f"top-1 {measured.top1_percent:.2f} % {row.images_per_second:.0f} images/s"
        )

    def _save(self) -> None:
        save_state(self.state_path, self.trainer.state_dict(), self.trainer.progress, self.fixed)

    def _stop(self) -> NoReturn:
        if self.main:
            self._save()
        raise TrainingError(
            f"stopped on request; the state is in {self.state_path}. "
            "The same call goes on from there."
        ) from None

    def _fail(self, reason: str, error: BaseException) -> NoReturn:
        finished = len(self.trainer.progress.history)
        kept = (
            f"The state after epoch {finished} is in {self.state_path}."
            if finished
            else "No epoch was finished, so there is no state to go on from."
        )
        raise TrainingError(f"{reason} {kept}") from error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return "can't allocate memory" in str(error)  # what torch says on the CPU
