"""A training that was interrupted gives the numbers of one that was not (faults 64 and 65)."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.finetuning.training import RECIPE, change, train
from zoo.errors import TrainingError
from zoo.finetuning import interrupt, state
from zoo.finetuning.run import TrainingResult


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """Return what an uninterrupted training gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = train(digits, tmp_path_factory.mktemp("whole"))
    torch.set_num_threads(threads)
    return result


def check_same(result: TrainingResult, whole: TrainingResult) -> None:
    assert result.best_sha256 == whole.best_sha256
    assert result.best_epoch == whole.best_epoch
    assert result.last.class_top1_counts == whole.last.class_top1_counts
    assert result.last_path.read_bytes() == whole.last_path.read_bytes()
    assert numbers(result) == numbers(whole)


def numbers(result: TrainingResult) -> list[list[str]]:
    with open(result.best_path.with_name("results.csv")) as file:
        return [row[:5] for row in csv.reader(file)]  # the last columns are times


def test_killed_in_the_middle_of_an_epoch(
    digits: Path, tmp_path: Path, whole: TrainingResult
) -> None:
    command = [sys.executable, "-u", "-m", "tests.finetuning.training", str(digits), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(2)]
        assert "epoch 2/3" in lines[1], lines
        time.sleep(0.1)  # into the third epoch
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert not (tmp_path / "last.safetensors").exists()
    lines = []
    check_same(train(digits, tmp_path, progress=lines.append), whole)
    assert lines[0] == "going on after epoch 2 and 0 updates of the next"


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_saves_in_the_middle_of_an_epoch(
    digits: Path,
    tmp_path: Path,
    whole: TrainingResult,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    network_updates = 0

    def count(*_: object) -> None:
        nonlocal network_updates
        network_updates += 1
        if network_updates == 8:
            os.kill(os.getpid(), number)

    monkeypatch.setattr("zoo.finetuning.data.seed_random_numbers", spy(count))
    with pytest.raises(TrainingError, match=r"stopped on request; the state is in .*state\.pt"):
        train(digits, tmp_path)
    assert signal.getsignal(number) is before
    lines: list[str] = []
    check_same(train(digits, tmp_path, progress=lines.append), whole)
    assert lines[0] == "going on after epoch 1 and 3 updates of the next"


def spy(count):  # type: ignore[no-untyped-def]
    from zoo.finetuning.data import seed_random_numbers

    def seed(*key: int) -> None:
        count()
        seed_random_numbers(*key)

    return seed


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_to_the_whole_group_spares_data_loading(
    digits: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-u", "-m", "tests.finetuning.training", str(digits), str(tmp_path)]
    with subprocess.Popen(
        [*command, "workers=1", "epochs=1000", "head_only_epochs=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.readline()
        os.killpg(running.pid, number)
        errors = running.stderr.read()
    assert running.returncode == 1
    assert "stopped on request" in errors
    assert (tmp_path / "last" / "state.pt").exists()


def test_a_finished_training_is_not_repeated(whole: TrainingResult, digits: Path) -> None:
    check_same(train(digits, whole.best_path.parent), whole)


def test_state_is_written_whole_or_not_at_all(
    digits: Path, tmp_path: Path, whole: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = 0

    def save_half(content: object, file) -> None:  # type: ignore[no-untyped-def]
        nonlocal saves
        saves += 1
        if saves == 2:
            file.write(b"half of a state")
            raise OSError(28, "No space left on device")
        original(content, file)

    original = torch.save
    monkeypatch.setattr(state.torch, "save", save_half)
    with pytest.raises(OSError, match="No space left"):
        train(digits, tmp_path)
    monkeypatch.undo()
    check_same(train(digits, tmp_path), whole)


def test_damaged_and_foreign_states_are_refused(digits: Path, tmp_path: Path) -> None:
    recipe = change(epochs=1, head_only_epochs=0)
    train(digits, tmp_path, recipe)
    path = tmp_path / "last" / "state.pt"
    good = path.read_bytes()
    with pytest.raises(TrainingError, match=r"lr: 0\.002 -> 0\.5.*resume=False"):
        train(digits, tmp_path, change(epochs=1, head_only_epochs=0, lr=0.5))
    with pytest.raises(TrainingError, match="train_images: 240 -> 239"):
        from zoo.evaluation.datasets import open_dataset

        fewer = open_dataset(digits, split="train").select(range(239))
        train(digits, tmp_path, recipe, train_data=fewer)
    content = torch.load(path, weights_only=True)
    content["fixed"]["processes"] = 8
    torch.save(content, path)
    with pytest.raises(TrainingError, match="processes: 8 -> 1"):
        train(digits, tmp_path, recipe)
    content["fixed"]["recipe"]["field_of_the_future"] = 1
    torch.save(content, path)
    with pytest.raises(TrainingError, match=r"another version .*field_of_the_future"):
        train(digits, tmp_path, recipe)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(TrainingError, match=r"state\.pt: damaged or not a training state"):
        train(digits, tmp_path, recipe)
    assert train(digits, tmp_path, recipe, resume=False).epochs == 1
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"best\.safetensors is missing"):
        train(digits, tmp_path, recipe)


def test_other_versions_are_mentioned(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = change(epochs=1, head_only_epochs=0)
    monkeypatch.setattr(state, "find_versions", lambda: {"torch": "1.0"})
    train(digits, tmp_path, recipe)
    monkeypatch.undo()
    train(digits, tmp_path, recipe)
    assert "was written with {'torch': '1.0'}" in caplog.text


def test_workers_do_not_change_the_numbers(
    digits: Path, tmp_path: Path, whole: TrainingResult
) -> None:
    check_same(train(digits, tmp_path, change(workers=2)), whole)
    assert RECIPE.workers == 0


def test_a_second_signal_acts_at_once() -> None:
    # A suite that a shell started in the background was told to ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with interrupt.stopping_on_signals() as must_stop:
        signal.raise_signal(signal.SIGINT)
        assert must_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_handlers_are_left_alone_outside_the_main_thread() -> None:
    from threading import Thread

    found = []

    def enter() -> None:
        with interrupt.stopping_on_signals() as must_stop:
            found.append(must_stop())

    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
