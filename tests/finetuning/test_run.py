"""`finetune` from data to files."""

from __future__ import annotations

import copy
import csv
import hashlib
import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from tests.digits import PREPROCESSING, build_network
from tests.finetuning.training import RECIPE, change, train
from zoo.errors import DatasetError, TrainingError
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.datasets import open_dataset
from zoo.finetuning import outputs
from zoo.finetuning.data import Augmented, EpochBatches, build_augmentation
from zoo.finetuning.recipe import Recipe
from zoo.preprocessing import Normalise

PLAIN = Recipe(epochs=2, batch_size=48, lr=3e-3, horizontal_flip=0.0, warmup_epochs=0.0, workers=0)


def test_a_learning_rate_that_changes_with_the_epoch(digits: Path, tmp_path: Path) -> None:
    """Constant within an epoch, cosine over epochs: what NAS benchmarks train with."""
    recipe = msgspec.structs.replace(PLAIN, epochs=3, lr=0.1, schedule_step="epoch")
    train(digits, tmp_path, recipe)
    with open(tmp_path / "results.csv") as file:
        found = [float(row["lr"]) for row in csv.DictReader(file)]
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 3)) for epoch in range(3)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_updates_are_those_of_plain_torch(digits: Path, tmp_path: Path) -> None:
    """On the same batches a loop of torch alone gives the same losses and the same weights."""
    recipe = msgspec.structs.replace(
        PLAIN, optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=5e-4, decay_norms=True,
        schedule_step="epoch", crop="padded", horizontal_flip=0.5, drop_last=False,
    )  # fmt: skip
    network: Any = build_network()
    network.drop_rate = 0.0  # the loop below draws no numbers for dropout
    expected = copy.deepcopy(network).to(memory_format=torch.channels_last)
    train(digits, tmp_path, recipe, model=network)
    data = Augmented(
        open_dataset(digits, split="train"), build_augmentation(PREPROCESSING, recipe), recipe.seed
    )
    batches, normalise = EpochBatches(len(data), recipe, 0, 1), Normalise(PREPROCESSING)
    optimizer = torch.optim.SGD(
        expected.parameters(), momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    with open(tmp_path / "results.csv") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    for batches.epoch, (lr, loss) in enumerate(zip((0.1, 0.05), losses, strict=True)):
        optimizer.param_groups[0]["lr"] = lr
        expected.train()
        found = []
        for batch in batches:
            pixels, targets = zip(*(data[key] for key in batch), strict=True)
            images = normalise(torch.stack(pixels)).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            found.append(nn.functional.cross_entropy(expected(images), torch.tensor(targets)))
            found[-1].backward()
            optimizer.step()
        assert sum(found).item() / len(found) == pytest.approx(loss, rel=1e-5)
    last = load_file(tmp_path / "last.safetensors")
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(last[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", [RECIPE, PLAIN], ids=["everything", "plain"])
def test_files_and_result_agree(recipe: Recipe, digits: Path, tmp_path: Path) -> None:
    model, lines = build_network(), []
    result = train(
        digits, tmp_path, recipe, lines.append, model=model, metadata={"made": "in a test"}
    )
    best = result.best_path.read_bytes()
    assert result.best_sha256 == hashlib.sha256(best).hexdigest()
    assert result.best_size_bytes == len(best)
    assert result.class_names == tuple(f"digit{number}" for number in range(10))
    with safe_open(result.best_path, "pt") as file:
        assert file.metadata() == {"made": "in a test"}
        assert set(file.keys()) == set(build_network().state_dict())
    assert msgspec.json.decode((tmp_path / "recipe.json").read_bytes(), type=Recipe) == recipe
    with open(tmp_path / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, recipe.epochs + 1))
    top1 = [float(row["val_top1_percent"]) for row in rows]
    assert (
        max(top1)
        == top1[result.best_epoch - 1]
        == pytest.approx(result.best.top1_percent, abs=1e-3)
    )
    assert top1[-1] == pytest.approx(result.last.top1_percent, abs=1e-3)
    losses = [float(row["train_loss"]) for row in rows]
    assert recipe is RECIPE or losses[1] < losses[0]  # ten updates teach little
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert lines[-1].startswith(f"epoch {recipe.epochs}/{recipe.epochs} loss ")
    assert not list(tmp_path.rglob(".*"))  # no partial files
    # The model has the best weights.
    assert not model.training
    again = evaluate(
        model, open_dataset(digits), preprocessing=PREPROCESSING, batch_size=48, workers=0
    )
    assert again.class_top1_counts == result.best.class_top1_counts


def test_same_seed_same_weights(digits: Path, tmp_path: Path) -> None:
    recipe = change(epochs=1, head_only_epochs=0)
    first, second, other = (
        train(digits, tmp_path / name, msgspec.structs.replace(recipe, seed=seed)).best_sha256
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert first == second != other


def test_validation_is_held_out_of_each_class(digits: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(PLAIN, epochs=1, val_fraction=0.25)
    beside = train(digits, tmp_path / "beside", recipe, val_data=None)
    assert beside.best.samples == 101  # a validation folder beside the training folder is used
    result = train(digits / "train", tmp_path / "part", recipe, val_data=None)
    assert sum(result.best.class_samples) == result.best.samples == pytest.approx(60, abs=5)
    assert min(result.best.class_samples) >= 5


def test_patience_ends_a_training(digits: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(PLAIN, epochs=50, lr=1e-12, patience=2)
    result = train(digits, tmp_path, recipe)
    assert result.epochs == result.best_epoch + 2 < 50


def test_other_data_is_refused_before_training(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="10 classes in the data, 7 outputs"):
        train(digits, tmp_path, model=build_network(7))
    with pytest.raises(DatasetError, match="class 0 is 'digit0' in the data and 'digit9'"):
        train(digits, tmp_path, labels=[f"digit{number}" for number in reversed(range(10))])
    assert not (tmp_path / "last").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "sdg"}, "optimizer 'sdg'.*Did you mean 'sgd'"),
        ({"auto_augment": "rand-x9"}, "auto_augment 'rand-x9'"),
        ({"batch_size": 33}, "batch_size 33 must be a multiple of 2"),
    ],
)
def test_recipes_that_cannot_work_are_refused(
    fields: dict, message: str, digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message):
        train(digits, tmp_path, change(**fields))


def test_nan_names_the_state_to_go_back_to(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training loss became .* No epoch was finished"):
        train(digits, tmp_path / "a", msgspec.structs.replace(PLAIN, optimizer="sgd", lr=1e30))
    late = msgspec.structs.replace(
        PLAIN, optimizer="sgd", lr=1e30, epochs=2, warmup_epochs=1, warmup_lr=1e-3
    )
    # The first epoch warms up from a harmless rate, with steps that reach 1e30 only later.
    with pytest.raises(TrainingError, match="Lower lr"):
        train(digits, tmp_path / "b", late)


def test_memory_that_runs_out_is_explained(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("zoo.finetuning.data.seed_random_numbers", fail)
    with pytest.raises(TrainingError, match=r"out of memory .*2 GiB.*Lower batch_size"):
        train(digits, tmp_path)


def test_bf16_and_clipping(digits: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(PLAIN, mixed_precision="bf16", clip_grad=1.0, layer_decay=0.8)
    model = build_network()
    train(digits, tmp_path, recipe, model=model)
    with open(tmp_path / "results.csv") as file:
        first, last = (float(row["train_loss"]) for row in csv.DictReader(file))
    assert last < first
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert "forward" not in vars(model)


def test_missing_matplotlib_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    outputs._say_once.cache_clear()
    for _ in range(2):
        outputs.write_curve([], tmp_path / "curve.png")
    assert caplog.text.count("matplotlib is not installed") == 1
    assert not (tmp_path / "curve.png").exists()
