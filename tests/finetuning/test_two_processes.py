"""Two processes that share each batch learn what one process learns."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.finetuning.training import change, train
from tests.two_processes import run_two_processes

# Augmentation is per image, so both see the same batches. Mixup draws per process
# and batch norm looks at half a batch, so they are off or at rest here.
FIELDS = {"mixup": 0, "head_only_epochs": 0, "freeze_backbone": True, "ema_decay": 0.9}


def test_head_learns_the_same_to_rounding(digits: Path, tmp_path: Path) -> None:
    settings = [f"{field}={str(value).lower()}" for field, value in FIELDS.items()]
    script = ["-m", "tests.finetuning.training", str(digits), str(tmp_path / "two")]
    run_two_processes(*script, *settings)
    train(digits, tmp_path / "one", change(**FIELDS))
    one, two = (read_results(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 3
    for alone, shared in zip(one, two, strict=True):
        assert shared["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-4)
        assert shared["val_top1_percent"] == pytest.approx(alone["val_top1_percent"], abs=0.6)


def read_results(out_dir: Path) -> list[dict[str, float]]:
    with open(out_dir / "results.csv") as file:
        return [{field: float(text) for field, text in row.items()} for row in csv.DictReader(file)]
