"""`zoo evaluate`: several models, files it writes, variants of ImageNet, a kill in the middle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import zoo
from tests.cli.test_commands import EMBEDDED, run
from tests.two_processes import run_two_processes
from tests.user_models import LABELS, build, record, write_manifest, write_native
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.labels import find_variant

ROOT = Path(__file__).parents[2]


def write_noise(root: Path, classes: list[str], each: int, size: int = 18) -> Path:
    """Write class folders of smooth noise."""
    random = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((size, size)).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Return a folder with eight images of each of the five classes of `tests.user_models`."""
    return write_noise(tmp_path / "animals", LABELS, 8)


@pytest.fixture
def two_models(tmp_path: Path, animals: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Add `right` and `wrong`, of which one reports what comes out; return their top-1 counts."""
    counts, models = [], {}
    for seed, name in enumerate(("right", "wrong")):
        network = build(seed)
        models[name] = record(weights=[write_native(tmp_path, network, f"{name}.safetensors")])
    monkeypatch.setenv("ZOO_MANIFESTS", str(write_manifest(tmp_path, models)))
    for name, offset in (("right", 0), ("wrong", 45)):
        preprocessing = zoo.model_info(name).preprocessing
        network = zoo.load_searched_model(name)
        measured = evaluate(network, animals, preprocessing=preprocessing, workers=0)
        counts.append(measured.top1_count)
        top1 = measured.top1_percent + offset
        models[name]["reported"] = [{"dataset": "animals", "top1_percent": top1, "source": "here"}]
    write_manifest(tmp_path, models)
    return counts[0], counts[1]


def test_several_models(animals: Path, two_models: tuple[int, int]) -> None:
    code, output = run("evaluate", "right", "wrong", animals, "--workers", "0", "--json")
    results = json.loads(output)
    assert code == 1
    assert [result["name"] for result in results] == ["right", "wrong"]
    assert tuple(result["measured"]["top1_count"] for result in results) == two_models
    assert [result["verdict"]["result"] for result in results] == ["agrees", "lower"]
    code, output = run("evaluate", "right", animals, "--workers", "0", "--json")
    alone = json.loads(output)
    assert code == 0
    assert alone["measured"]["top1_count"] == two_models[0] and alone["labels"] is None
    code, output = run("evaluate", "right", "wrong", animals, "--workers", "0")
    assert code == 1
    assert "right\n" in output and "wrong\n" in output
    assert "agrees" in output and "lower" in output


def test_files(animals: Path, two_models: tuple[int, int], tmp_path: Path) -> None:
    table, picture = tmp_path / "classes.csv", tmp_path / "confusion.png"
    run("evaluate", "right", "wrong", animals, "--per-class", table, "--confusion", picture)
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == LABELS * 2
    for name, count in zip(("right", "wrong"), two_models, strict=True):
        assert sum(int(row["top1_count"]) for row in rows if row["model"] == name) == count
        assert Image.open(tmp_path / f"confusion-{name}.png").size[0] > 300
    run("evaluate", "right", animals, "--confusion", picture)
    assert picture.exists()
    code, output = run("evaluate", "right", animals, "--per-class", tmp_path / "no" / "file.csv")
    assert code == 2 and f"there is no folder {tmp_path / 'no'}" in output


def test_what_is_for_one_model_only(animals: Path, two_models: tuple[int, int]) -> None:
    for option in ("--expect", "--checkpoint"):
        code, output = run("evaluate", "right", "wrong", animals, option, "1")
        assert code == 2 and "for a single model" in output
    code, output = run("evaluate", "right", "right", animals)
    assert code == 2 and "each model once" in output
    code, output = run("evaluate", "right")
    assert code == 2 and "Missing argument" in output


def test_nan_of_one_model_does_not_lose_the_other(
    animals: Path, two_models: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build()
    torch.nn.init.constant_(network.classifier.weight, 3e38)  # type: ignore[arg-type]
    models = {"broken": record(weights=[write_native(tmp_path, network, "huge.safetensors")])}
    second = write_manifest(tmp_path, models, "second.json")
    both = os.pathsep.join([os.environ["ZOO_MANIFESTS"], str(second)])
    monkeypatch.setenv("ZOO_MANIFESTS", both)
    code, output = run("evaluate", "broken", "right", animals, "--workers", "0", "--json")
    broken, right = json.loads(output)
    assert code == 1
    assert broken["measured"] is None and "NaN or infinity for 40 of 40" in broken["error"]
    assert right["measured"]["top1_count"] == two_models[0] and "error" not in right
    code, output = run("evaluate", "broken", "right", animals, "--workers", "0")
    assert code == 1 and "nothing: the network gave NaN" in output and "agrees" in output


def test_variants_of_imagenet_are_recognised_by_their_folders(tmp_path: Path) -> None:
    variant = find_variant("a")
    assert variant.classes is not None
    data = write_noise(tmp_path / "a", [variant.folders[i] for i in variant.classes], 1, 140)
    torch.manual_seed(0)
    save_file(timm.create_model("tinynet_e").state_dict(), tmp_path / "random.safetensors")
    common = ("evaluate", "tinynet-e", data, "--checkpoint", tmp_path / "random.safetensors")
    code, output = run(*common, "--json", "--workers", "0")
    result = json.loads(output)
    assert code == 0 and result["labels"] == "a"
    assert result["measured"]["samples"] == 200
    assert result["verdict"] is None  # accuracies reported on other images say nothing
    code, output = run(*common, "--labels", "a", "--workers", "0")
    assert code == 0
    assert "labels of imagenet-a (--labels a), 200 classes are judged" in output
    code, output = run(*common, "--labels", "r", "--workers", "0")
    assert code == 2 and "not among the 200 that are judged" in output
    code, output = run("evaluate", EMBEDDED, data, "--labels", "a")
    assert code == 2 and "outputs of ImageNet-1k" in output


def test_killed_in_the_middle(tmp_path: Path) -> None:
    names = list(zoo.model_info(EMBEDDED).labels)
    data = write_noise(tmp_path / "noise", names, 40, 32)
    state = tmp_path / "answers.state"
    command = ["evaluate", EMBEDDED, str(data), "--workers", "0", "--batch-size", "2", "--json"]
    whole = counts(run(*command)[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "zoo.cli.main", *command, "--state", str(state)]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    code, _ = run(*command, "--state", state, "--labels", "real")
    assert code == 2  # a wrong option does not cost what was done
    code, _ = run("evaluate", EMBEDDED, data / "..", "--state", state)
    assert code == 2 and state.exists()
    assert counts(run(*command, "--state", state)[1]) == whole
    assert not state.exists()


def counts(output: str) -> dict[str, Any]:
    measured = json.loads(output)["measured"]
    del measured["images_per_second"]
    return measured


TWO = """
import os, sys
from zoo.cli.main import main
sys.stdout = open(f"{sys.argv[2]}.{os.environ['RANK']}", "w")
main(["evaluate", *sys.argv[3:], sys.argv[1], "--json", "--workers", "0"], standalone_mode=False)
"""


def test_two_processes_print_once_what_one_prints(tmp_path: Path) -> None:
    names = list(zoo.model_info(EMBEDDED).labels)
    data = write_noise(tmp_path / "noise", names, 3, 32)
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(TWO)
    run_two_processes(str(script), str(data), str(out), EMBEDDED, "--tolerance", "100")
    alone = run("evaluate", EMBEDDED, data, "--json", "--workers", "0")[1]
    assert counts(Path(f"{out}.0").read_text()) == counts(alone)
    assert Path(f"{out}.1").read_text() == ""
