"""The training loop of one process: epochs of updates, and its state for resuming.

Random numbers are seeded at every update from (seed, epoch, step, process), so
a training that was interrupted anywhere goes on as if it had not been.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.errors import TrainingError
from zoo.evaluation.images import iterate
from zoo.finetuning import data, head
from zoo.finetuning.interrupt import Interrupted
from zoo.finetuning.recipe import Recipe
from zoo.finetuning.schedule import Phase, build_optimizer, build_schedule, find_phase
from zoo.finetuning.state import Progress

CHECK_STEPS = 20  # looking at the loss waits for the device, so not at every update
REPORT_SECONDS = 30.0


class Trainer:
    """Trains a model with a recipe; `progress` tells how far it is.

    `normalise` makes the network's input of a batch of the data set.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: data.Augmented,
        recipe: Recipe,
        accelerator: Any,
        num_classes: int,
        must_stop: Callable[[], bool],
        report: Callable[[str], None],
        *,
        normalise: Callable[[Tensor], Tensor],
    ) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        self.normalise = normalise
        self.must_stop, self.report = must_stop, report
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model = model.to(device=accelerator.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.trainable = head.find_trainable(model)
        self.average = (
            ModelEmaV3(self.model, decay=recipe.ema_decay, use_warmup=recipe.ema_warmup)
            if recipe.ema_decay is not None
            else None
        )
        self.mix = data.build_mix(recipe, num_classes)
        # Mixup gives soft targets, which are smoothed already.
        self.loss = nn.CrossEntropyLoss(label_smoothing=0 if self.mix else recipe.label_smoothing)
        self.batches = data.EpochBatches(
            len(dataset), recipe, accelerator.process_index, accelerator.num_processes
        )
        self.loader = data.build_loader(dataset, self.batches, recipe.workers)
        self.progress = Progress()
        self.phase = find_phase(recipe, 0)
        self._build_phase()

    @property
    def evaluated(self) -> nn.Module:
        """The network whose accuracy counts: the moving average when there is one."""
        return self.average.module if self.average is not None else self.model

    @property
    def lr(self) -> float:
        """The largest learning rate of any layer."""
        return max(group["lr"] for group in self.optimizer.param_groups)

    @property
    def is_epoch_trained(self) -> bool:
        """Whether all updates of the current epoch are done, but not its evaluation."""
        return self.progress.step == self.batches.steps_per_epoch

    def train_epoch(self) -> float:
        """Do the updates that the current epoch still lacks; return its mean training loss.

        Raises:
            Interrupted: `must_stop` became true in some process.
            TrainingError: the loss is NaN or infinite.
            DatasetError: an image cannot be decoded.
        """
        progress, steps = self.progress, self.batches.steps_per_epoch
        self._enter_phase(find_phase(self.recipe, progress.epoch))
        head.set_training_mode(self.model, head_only=self.phase.head_only)
        self.batches.epoch, self.batches.first_step = progress.epoch, progress.step
        loss_sum = torch.tensor(progress.loss_sum, device=self.accelerator.device)
        started = reported = time.monotonic() - progress.seconds
        with closing(iterate(self.loader)) as loading:
            for images, targets in loading:
                loss_sum += self._update(images, targets)
                progress.step += 1
                progress.updates += 1
                progress.seconds = time.monotonic() - started
                if self._is_time_to_check(steps):
                    progress.loss_sum = self._check(loss_sum)
                    if time.monotonic() - reported > REPORT_SECONDS:
                        reported = time.monotonic()
                        self.report(
                            progress.describe(self.recipe.epochs, steps, self.batches.batch_size)
                        )
        return progress.loss_sum / steps

    def state_dict(self) -> dict[str, Any]:
        """Return everything but `progress` that going on needs."""
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
        self._enter_phase(find_phase(self.recipe, min(progress.epoch, self.recipe.epochs - 1)))
        # A state saved at the end of a phase holds the optimizer of that phase, not of the next.
        if self.phase.first_epoch == tensors["phase_first_epoch"]:
            self.optimizer.load_state_dict(tensors["optimizer"])

    def restore_trainable(self) -> None:
        """Let the parameters require gradients as they did before the training."""
        head.set_trainable(self.model, self.trainable, head_only=False)

    def _enter_phase(self, phase: Phase) -> None:
        if phase != self.phase:
            self.phase = phase
            self.accelerator.free_memory()  # of the optimizer before
            self._build_phase()

    def _build_phase(self) -> None:
        phase = self.phase
        head.set_trainable(self.model, self.trainable, head_only=phase.head_only)
        optimizer = build_optimizer(self.model, self.recipe)
        self.schedule = build_schedule(optimizer, self.recipe, phase, self.batches.steps_per_epoch)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.wrapped = self.model
        if self.accelerator.num_processes > 1:
            # A phase changes which parameters learn, which DDP reads only when it is made.
            on_gpu = self.accelerator.device.type == "cuda"
            devices = [self.accelerator.device] if on_gpu else None
            self.wrapped = DistributedDataParallel(self.model, device_ids=devices)

    def _update(self, images: Tensor, targets: Tensor) -> Tensor:
        accelerator, progress, device = self.accelerator, self.progress, self.accelerator.device
        updates = (progress.epoch - self.phase.first_epoch) * self.batches.steps_per_epoch
        if self.recipe.schedule_step == "update":
            updates += progress.step
        self.schedule.step_update(updates)
        at = (progress.epoch, progress.step, accelerator.process_index)
        data.seed_random_numbers(data.STEP, self.recipe.seed, *at)
        images = self.normalise(images.to(device, non_blocking=True))
        images = images.contiguous(memory_format=self.layout)
        targets = targets.to(device, non_blocking=True)
        if self.mix is not None:
            images, targets = self.mix(images, targets)
        with accelerator.autocast():
            logits = self.wrapped(images)
        loss = self.loss(logits.float(), targets)
        accelerator.backward(loss)
        if self.recipe.clip_grad is not None:
            accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, step=progress.updates + 1)
        return loss.detach()

    def _is_time_to_check(self, steps: int) -> bool:
        step = self.progress.step
        # One process may stop at once; several must agree, which costs time.
        alone = self.accelerator.num_processes == 1
        return step % CHECK_STEPS == 0 or step == steps or (alone and self.must_stop())

    def _check(self, loss_sum: Tensor) -> float:
        """Return the sum of losses, averaged over processes; raise what all must raise together."""
        flags = torch.stack([loss_sum, loss_sum.new_tensor(float(self.must_stop()))])
        mean_loss, stop = self.accelerator.reduce(flags, "mean").tolist()
        if not abs(mean_loss) < float("inf"):
            raise TrainingError(
                f"training loss became {mean_loss} in epoch {self.progress.epoch + 1}, at most "
                f"{CHECK_STEPS} updates before {self.progress.step} of "
                f"{self.batches.steps_per_epoch}, with lr {self.lr:.3g}. Lower lr, or set "
                "clip_grad or a longer warm-up, and start again with resume=False."
            )
        if stop:
            self.progress.loss_sum = mean_loss
            raise Interrupted
        return mean_loss
