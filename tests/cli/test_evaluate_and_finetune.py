"""`zoo evaluate` and `zoo finetune` end to end on a tiny data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import zoo
from tests.cli.test_commands import EMBEDDED, run

COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 50), "red": (200, 40, 30)}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Class folders of plain colours that any network learns in a moment."""
    root = tmp_path / "colours"
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(8):
            shade = tuple(min(255, channel + 5 * number) for channel in colour)
            Image.new("RGB", (32, 32), shade).save(root / name / f"{number}.png")
    return root


def test_evaluate_refuses_other_classes(colours: Path) -> None:
    code, output = run("evaluate", EMBEDDED, colours)
    assert code == 2
    assert "3 classes in the data, 10 outputs of the network" in output


def test_finetune_gives_a_model_with_a_name(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs" / "colours"
    common = ("--epochs", "3", "--lr", "0.01", "--batch-size", "8", "--set", "workers=0")
    code, output = run("finetune", EMBEDDED, colours, "--val", colours, "--out", out, *common)
    assert code == 0, output
    assert {"best.safetensors", "last.safetensors", "results.csv", "manifest.json"} <= {
        path.name for path in out.iterdir()
    }
    monkeypatch.setenv("ZOO_MANIFESTS", str(out / "manifest.json"))
    name = f"{EMBEDDED}-colours"
    assert name in zoo.list_models(pretrained=True)
    code, output = run("verify", name)
    assert code == 0 and "verified" in output
    code, output = run("evaluate", name, colours, "--workers", "0", "--json")
    result = json.loads(output)
    record = zoo.model_info(name).weights[0].reproduced[0]
    assert result["measured"]["top1_percent"] == pytest.approx(record.top1_percent, abs=1e-3)
    assert code == 0, output
    code, output = run("evaluate", name, colours, "--workers", "0", "--expect", "1")
    assert code == 1 and "higher" in output


def test_finetune_says_what_is_odd_about_the_folders(colours: Path, tmp_path: Path) -> None:
    """Before it trains: files that are no images, a single class, a file in place of --out."""
    (colours / "red" / "notes.txt").write_text("x")
    code, output = run("finetune", EMBEDDED, colours, "--out", tmp_path / "run", "--epochs", "1")
    assert code == 0
    assert f"{colours}: 1 file(s) ignored, not images: red/notes.txt" in output
    code, output = run("finetune", EMBEDDED, colours, "--out", colours / "red" / "notes.txt")
    assert code == 2
    assert "no folder for results can be made there (File exists)" in output
    for folder in ("red", "green"):
        (colours / folder / "broken.png").write_bytes(b"x")
    code, output = run("finetune", EMBEDDED, colours, "--out", tmp_path / "run1", "--check")
    assert code == 2
    assert "2 image(s) cannot be decoded: green/broken.png" in output and "red/broken" in output
    shutil.rmtree(colours / "red")
    shutil.rmtree(colours / "blue")
    code, output = run("finetune", EMBEDDED, colours, "--out", tmp_path / "run2")
    assert code == 2
    assert f"{colours}: a single class, 'green'" in output and not (tmp_path / "run2").exists()


def test_a_wrong_recipe_field_is_named(colours: Path, tmp_path: Path) -> None:
    code, output = run("finetune", EMBEDDED, colours, "--out", tmp_path, "--set", "weight_decy=1")
    assert code == 2
    assert "no field 'weight_decy'. Did you mean 'weight_decay'" in output
    code, output = run("finetune", EMBEDDED, colours, "--out", tmp_path, "--set", "lr")
    assert code == 2
    assert "--set lr: expected lr=VALUE" in output
    code, output = run("finetune", EMBEDDED, colours, "--out", tmp_path, "--epochs", "0")
    assert code == 2
    assert "recipe:" in output and "epochs" in output
