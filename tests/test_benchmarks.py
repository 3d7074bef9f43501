"""The scripts in `benchmarks/` that measure accuracy, on small data."""

from __future__ import annotations

import importlib
import io
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.digits import write_digits
from tests.user_models import SETTINGS, build, record, write_manifest, write_native
from zoo.cli.main import main as zoo_main
from zoo.evaluation.measured import Z_95
from zoo.records import Preprocessing
from zoo.tables.measurement import read_measurements

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
CLASSES = [f"digit{number}" for number in range(10)]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a script as Python does when it is run."""
    if not FOLDER.is_dir():
        pytest.skip(f"no {FOLDER}")
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a model for "CIFAR-10" that knows ten digits, with weights at hand."""
    network = build(num_classes=10)
    content = record(
        dataset="cifar-10",
        settings={**SETTINGS, "num_classes": 10},
        labels=CLASSES,
        weights=[write_native(tmp_path, network)],
    )
    monkeypatch.setenv("ZOO_MANIFESTS", str(write_manifest(tmp_path, {"mine": content})))


def run(script: ModuleType, *arguments: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["script", *map(str, arguments)])
        script.main()


def test_accuracy(
    load: Any, mine: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts what `zoo evaluate` counts, once for the same weights."""
    digits, out = write_digits(tmp_path / "digits", 0, 123), tmp_path / "out"
    script = load("accuracy")
    run(script, "--cifar10", digits, "--out", out, "mi*")
    assert '"dataset":"CIFAR-10, 123 test images"' in capsys.readouterr().out
    (found,) = read_measurements(out)
    assert (found.model, found.samples, found.benchmark) == ("mine", 123, "cifar-10/test")
    with pytest.raises(SystemExit):
        zoo_main(["evaluate", "mine", str(digits), "--expect", "100"])
    counts = f"{found.top1_count} and {found.top5_count} of 123 images"
    assert counts in capsys.readouterr().out
    assert found.latency_ms > 0 and found.environment.versions["torch"] == version("torch")

    (file,) = out.iterdir()
    before = file.read_bytes()
    run(script, "--cifar10", digits, "--out", out, "mine")
    assert "known" in capsys.readouterr().out
    file.write_bytes(before.replace(found.weights_sha256.encode(), b"0" * 64))
    run(script, "--cifar10", digits, "--out", out, "mine")
    assert read_measurements(out)[0].weights_sha256 == found.weights_sha256


def test_accuracy_passes_over_weights_that_are_not_at_hand(
    load: Any, tmp_path: Path, closed_network: list[object]
) -> None:
    digits = write_digits(tmp_path / "digits", 0, 30)
    run(load("accuracy"), "--cifar10", digits, "--out", tmp_path / "out", "darts-v2")
    assert not (tmp_path / "out").exists()
    assert closed_network == []


def test_accuracy_goes_on_after_a_model_that_fails(load: Any, mine: None, tmp_path: Path) -> None:
    """Digits are not what the zoo's own CIFAR-10 networks tell apart."""
    digits, out = write_digits(tmp_path / "digits", 0, 30), tmp_path / "out"
    with pytest.raises(SystemExit, match=r"(?s)nb201-resnet-like-mini: .*other class names"):
        run(load("accuracy"), "--cifar10", digits, "--out", out)
    assert [found.model for found in read_measurements(out)] == ["mine"]


def test_paired_comparison(load: Any) -> None:
    """The interval is that of the mean of the differences, image for image."""
    compare = load("preprocessing_shifts").compare
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 7, 500)
    right, wrong = (
        np.where(generator.random((500, 1)) < share, targets[:, None], 8) for share in (0.8, 0.7)
    )
    row = compare(*map(torch.from_numpy, (right, wrong, targets)))
    steps = (wrong[:, 0] == targets).astype(int) - (right[:, 0] == targets)
    assert row["newly_right"] == (steps == 1).sum() and row["newly_wrong"] == (steps == -1).sum()
    assert row["predictions_changed"] == (right != wrong).sum()
    half = Z_95 * steps.std() / np.sqrt(500)
    expected = [100 * (steps.mean() - half), 100 * (steps.mean() + half)]
    assert row["difference_interval_points"] == pytest.approx(expected, abs=1e-3)


def test_every_wrong_way_differs_from_the_right_one_in_its_own_way(load: Any) -> None:
    """No wrong way is the right one by mistake, and no two are the same."""
    pytest.importorskip("cv2")
    pytest.importorskip("simplejpeg")
    ways = load("wrong_ways")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((360, 270)).save(file, "JPEG", quality=90)
    p = Preprocessing(resize=147, crop=128, mean=(0.5,) * 3, std=(0.5,) * 3)
    right = ways.build_transform(p)(Image.open(file))
    seen = [right]
    for way in ways.image_variants(p):
        image = way.transform(way.decode(file.getvalue()))
        assert image.isfinite().all()
        # These change the network, or must not change a pixel.
        if way.group in ("precision", "batch", "kernels") or way.what.endswith(
            ("by torchvision", "by OpenCV")
        ):
            assert torch.equal(image, right)
            continue
        assert not any(torch.equal(image, other) for other in seen if other.shape == image.shape)
        seen.append(image)


def test_ways_of_training_are_compared_on_the_cells_they_share(load: Any) -> None:
    compare = load("nasbench201_reproduction").compare
    cells = [
        {"reported_percent": 60.0, "top1_percent": {"protocol": 59.0, "again": 58.0}},
        {"reported_percent": 70.0, "top1_percent": {"protocol": 71.0}},
        {"reported_percent": 80.0, "top1_percent": {"again": 50.0}},
        {"reported_percent": 90.0, "top1_percent": {"protocol": 87.0}},
    ]
    assert compare(cells, "protocol") == {
        "cells": 3,
        "mean_difference_points": -1.0,
        "spearman": 1.0,
        "mean_difference_from_protocol_points": 0.0,
    }
    again = compare(cells, "again")
    assert (again["cells"], again["spearman"]) == (2, -1.0)
    assert again["mean_difference_from_protocol_points"] == -1.0
    assert compare(cells, "undecayed")["mean_difference_points"] is None


def test_speed_targets(load: Any) -> None:
    """Each target is judged run by run, in the direction it is about, and by its worst network."""
    Measured = load("speed_of.measuring").Measured
    targets = load("speed_of.targets")
    measured = [
        Measured("load", "a", "zoo", "s", (1.0, 2.0, 3.0)),
        Measured("load", "a", "timm", "s", (4.0, 5.0, 3.0)),
        Measured("load", "b", "zoo", "s", (5.0,)),
        Measured("load", "b", "timm", "s", (4.0,)),
        Measured("load", "c", "zoo", "s", (1.0,)),
        Measured("run", "a", "zoo", "images/s", (30.0,)),
        Measured("run", "a", "timm", "images/s", (10.0,)),
        Measured("memory", "a", "zoo", "× weights", (1.2,)),
    ]

    def judge(*arguments: Any, **limits: float) -> dict[str, Any]:
        (judged,) = targets.judge(measured, [targets.Target(*arguments, **limits)])
        return judged

    alone = judge("load", "a", "zoo", "timm", at_least=2.5)
    assert alone["ratio"] == 2.5 and alone["holds"]
    assert alone["quartiles"] == pytest.approx([1.0, 4.0])
    every = judge("load", "every", "zoo", "timm", at_least=1.0)
    assert (every["worst"], every["ratio"], every["holds"]) == ("b", 0.8, False)
    assert len(every["measured"]) == 2
    assert judge("run", "a", "zoo", "timm", at_least=3.0)["holds"]
    assert judge("load", "a", "zoo", "timm", at_most=0.4)["holds"]
    assert judge("memory", "every", "zoo", at_most=1.1)["holds"] is False
    assert judge("fly", "a", "zoo", "timm", at_least=1.0)["holds"] is None
    rows = {(target.row, target.column) for target in targets.TARGETS}
    assert len(rows) > 10 and all(
        (t.at_least is None) != (t.at_most is None) for t in targets.TARGETS
    )


def test_short_calls_are_timed_many_at_once(load: Any) -> None:
    """What the first call has to wait for does not count; a long call is made once."""
    time_call, calls = load("speed_of.measuring").time_call, []

    def slow_at_first() -> None:
        time.sleep(0.001 if calls else 0.05)
        calls.append(None)

    assert time_call(slow_at_first) < 0.02 and 4 <= len(calls) <= 6
    assert time_call(lambda: time.sleep(0.3)) >= 0.3
    assert time_call(lambda: 7.0) == 7.0


def test_speed_of_another_python(load: Any) -> None:
    """A candidate elsewhere is timed there; its end is an error."""
    measuring = load("speed_of.measuring")
    code = (
        "import time\ncalls = 0\ndef run():\n    global calls\n    calls += 1\n    print('noise')\n"
    )
    with measuring.elsewhere(code + "    time.sleep(0.02 * calls)", python=sys.executable) as run:
        seconds = measuring.in_turn({"there": run}, runs=2, warm_up=1)["there"]
    assert 0.04 <= seconds[0] < seconds[1] and seconds[1] >= 0.06
    with (
        measuring.elsewhere("def run():\n    raise SystemExit", python=sys.executable) as run,
        pytest.raises(RuntimeError, match="ended before it answered"),
    ):
        run()


@pytest.mark.slow
def test_speed(load: Any, tmp_path: Path) -> None:
    """A file keeps its parts, the limit stands beside, the picture is drawn."""
    script = load("speed")
    options = ("--runs", "1", "--out", tmp_path, "--networks", "mobilenetv3-small-100", "--only")
    run(script, *options, "as-loaded")
    run(script, *options, "load")
    result = json.loads((tmp_path / "speed.json").read_bytes())
    assert list(result["parts"]) == ["load", "as-loaded"]
    rows = result["parts"]["as-loaded"]["rows"]
    assert {row["column"] for row in rows} == {"zoo", "timm", "limit"}
    by_column = {row["column"]: row["median"] for row in rows if row["row"].endswith("batch 1")}
    assert by_column["limit"] > by_column["zoo"] > 0
    assert (tmp_path / "speed.png").stat().st_size > 1000
    assert len(result["targets"]) == len(load("speed_of.targets").TARGETS)


@pytest.mark.slow
def test_speed_of_pipelines(load: Any, tmp_path: Path) -> None:
    measured = load("speed_of.pipelines").measure(write_digits(tmp_path, 0, 70), ["tinynet-e"], 1)
    found = {(each.row, each.column): each for each in measured}
    columns = {"evaluation": ("zoo", "zoo optimised", "timm"), "fine-tuning": ("zoo", "timm")}
    rows = [(row, column) for row, names in columns.items() for column in names]
    assert set(found) == {*rows, *((f"peak memory, {row}", column) for row, column in rows)}
    assert all(each.median > 0 for each in found.values())
    assert {found[each].unit for each in rows} == {"images/s"}
    assert len({found[each].note.split(", ")[1] for each in rows}) == 1  # same processes
