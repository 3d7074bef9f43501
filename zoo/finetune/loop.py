"""The training loop of one process: epochs of updates, and its state for resuming.

Random numbers are seeded at every update from (seed, epoch, step, process), so
a training that was interrupted anywhere goes on as if it had not been.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.errors import TrainingError
from zoo.finetune import head
from zoo.finetune.data import STEP, Augmented, EpochBatches, build_loader, seed_random_numbers
from zoo.finetune.recipe import Recipe
from zoo.finetune.schedule import Phase, build_optimizer, build_schedule, find_phase
from zoo.finetune.state import Progress

logger = logging.getLogger(__name__)

CHECK_STEPS = 20  # looking at the loss waits for the device, so not at every update
REPORT_SECONDS = 30.0


class Interrupted(Exception):
    """Somebody asked the training to stop; the progress is up to date."""


class Trainer:
    """Trains a model with a recipe; `progress` tells how far it is."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Augmented,
        recipe: Recipe,
        accelerator: Any,
        num_classes: int,
        must_stop: Callable[[], bool],
        report: Callable[[str], None],
    ) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        self.must_stop, self.report = must_stop, report
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model = model.to(accelerator.device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average = _build_average(self.model, recipe)
        self.mix = _build_mix(recipe, num_classes)
        # Soft targets of mixup are smoothed already.
        self.loss = nn.CrossEntropyLoss(label_smoothing=0 if self.mix else recipe.label_smoothing)
        self.batches = EpochBatches(
            len(dataset), recipe, accelerator.process_index, accelerator.num_processes
        )
        self.loader = build_loader(dataset, self.batches, recipe.workers)
        self.progress = Progress()
        self.phase: Phase | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The network whose accuracy counts: the moving average when there is one."""
        return self.average.module if self.average is not None else self.model

    def train_epoch(self) -> float:
        """Do the updates that the current epoch still lacks; return its mean training loss.

        Raises:
            Interrupted: `must_stop` became true in some process.
            TrainingError: the loss is NaN or infinite.
        """
        progress, steps = self.progress, self.batches.steps_per_epoch
        phase = self._enter_phase()
        head.set_training_mode(self.model, head_only=phase.head_only)
        self.batches.epoch, self.batches.first_step = progress.epoch, progress.step
        loss_sum = torch.tensor(progress.loss_sum, device=self.accelerator.device)
        started = reported = time.monotonic()
        before = progress.seconds
        for images, targets in self.loader:
            loss_sum += self._update(images, targets)
            progress.step += 1
            progress.updates += 1
            progress.seconds = before + time.monotonic() - started
            if (
                progress.step % CHECK_STEPS == 0
                or progress.step == steps
                or self._alone_and_asked()
            ):
                progress.loss_sum = self._check(loss_sum)
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    self.report(self._describe(steps))
        return progress.loss_sum / steps

    def state_dict(self) -> dict[str, Any]:
        """Return everything but `progress` that going on needs."""
        assert self.phase is not None
        scaler = self.accelerator.scaler
        return {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "phase_first_epoch": self.phase.first_epoch,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }

    def load_state_dict(self, tensors: dict[str, Any], progress: Progress) -> None:
        """Go back to a saved state."""
        self.progress = progress
        self.model.load_state_dict(tensors["model"])
        if self.average is not None:
            self.average.module.load_state_dict(tensors["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(tensors["scaler"])
        if progress.epoch < self.recipe.epochs:
            if self._enter_phase().first_epoch == tensors["phase_first_epoch"]:
                self.optimizer.load_state_dict(tensors["optimizer"])

    def share_statistics(self) -> None:
        """Give all processes the batch-norm statistics of the first, as DDP does before an update."""
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            for network in {id(n): n for n in (self.model, self.evaluated)}.values():
                for buffer in network.buffers():
                    buffer.copy_(broadcast(buffer))  # type: ignore[arg-type]

    @property
    def lr(self) -> float:
        return max(group["lr"] for group in self.optimizer.param_groups)

    def _enter_phase(self) -> Phase:
        phase = find_phase(self.recipe, self.progress.epoch)
        if phase == self.phase:
            return phase
        self.phase = phase
        head.set_trainable(self.model, head_only=phase.head_only)
        self.accelerator.free_memory()
        optimizer = build_optimizer(self.model, self.recipe)
        self.schedule = build_schedule(optimizer, self.recipe, phase, self.batches.steps_per_epoch)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.wrapped = self.model
        if self.accelerator.num_processes > 1:
            # A phase changes which parameters learn, which DDP reads only when it is made.
            on_gpu = self.accelerator.device.type == "cuda"
            devices = [self.accelerator.device] if on_gpu else None
            self.wrapped = DistributedDataParallel(self.model, device_ids=devices)
        return phase

    def _update(self, images: Tensor, targets: Tensor) -> Tensor:
        accelerator, recipe, progress, phase = (
            self.accelerator, self.recipe, self.progress, self.phase
        )  # fmt: skip
        assert phase is not None
        device = accelerator.device
        epochs_in_phase = progress.epoch - phase.first_epoch
        self.schedule.step_update(epochs_in_phase * self.batches.steps_per_epoch + progress.step)
        seed_random_numbers(
            STEP, recipe.seed, progress.epoch, progress.step, accelerator.process_index
        )
        images = images.to(device, memory_format=self.layout, non_blocking=True)
        targets = targets.to(device, non_blocking=True)
        if self.mix is not None:
            images, targets = self.mix(images, targets)
        with accelerator.autocast():
            logits = self.wrapped(images)
        loss = self.loss(logits.float(), targets)
        accelerator.backward(loss)
        if recipe.clip_grad is not None:
            accelerator.clip_grad_norm_(self.model.parameters(), recipe.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, step=progress.updates + 1)
        return loss.detach()

    def _check(self, loss_sum: Tensor) -> float:
        """Return the sum of losses, averaged over processes; raise what all must raise together."""
        flags = torch.stack([loss_sum, loss_sum.new_tensor(float(self.must_stop()))])
        mean_loss, stop = self.accelerator.reduce(flags, "mean").tolist()
        if not abs(mean_loss) < float("inf"):
            raise TrainingError(
                f"training loss became {mean_loss} in epoch {self.progress.epoch + 1}, at most "
                f"{CHECK_STEPS} updates before {self.progress.step} of "
                f"{self.batches.steps_per_epoch}, with lr {self.lr:.3g}. Lower lr, or set "
                "clip_grad or a longer warm-up."
            )
        if stop:
            self.progress.loss_sum = mean_loss
            raise Interrupted
        return mean_loss

    def _alone_and_asked(self) -> bool:
        # Several processes must agree on when to stop, one may stop at once.
        return self.accelerator.num_processes == 1 and self.must_stop()

    def _describe(self, steps: int) -> str:
        progress = self.progress
        speed = progress.step * self.batches.batch_size / progress.seconds
        return (
            f"epoch {progress.epoch + 1}/{self.recipe.epochs} update {progress.step}/{steps} "
            f"loss {progress.loss_sum / progress.step:.4f} {speed:.0f} images/s"
        )


def _build_average(model: nn.Module, recipe: Recipe) -> Any:
    from timm.utils import ModelEmaV3

    if recipe.ema_decay is None:
        return None
    return ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=recipe.ema_warmup)


def _build_mix(recipe: Recipe, num_classes: int) -> Any:
    from timm.data import Mixup

    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        prob=recipe.mixup_probability,
        label_smoothing=recipe.label_smoothing,
        num_classes=num_classes,
    )
