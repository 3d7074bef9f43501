"""`zoo table`: what is committed is what the sources say, and every kind of drift is found."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.test_commands import run
from tests.user_models import record, write_manifest
from zoo.errors import InvalidArgument, InvalidManifest
from zoo.manifest import builtin_manifest, find_records, read_manifest
from zoo.records import Accuracy
from zoo.tables.agreement import as_manifest_entry, find_disagreements
from zoo.tables.columns import CSV_COLUMNS, csv_text, full_tables, reproduced_table
from zoo.tables.measurement import (
    Measurement,
    builtin_measurements,
    measurement_file,
    read_measurements,
)
from zoo.tables.pages import PAGES, find_drift, generate
from zoo.tables.rows import Row, make_rows

ROOT = Path(__file__).resolve().parents[2]
SHA256, OTHER_SHA256 = "1" * 64, "2" * 64
DATASET = "ten animals, 200 images"

Change = Callable[[dict[str, Any]], object]


def measured(**changes: Any) -> Measurement:
    """Return a measurement of the model `mine` on 200 images."""
    content = {
        "model": "mine",
        "weights_sha256": SHA256,
        "dataset": DATASET,
        "benchmark": "animals/test",
        "samples": 200,
        "top1_count": 151,
        "top5_count": 190,
        "top1_percent": 75.5,
        "top5_percent": 95.0,
        "top1_interval_percent": [69.09575644379659, 80.94313191096282],
        "preprocessing": {"resize": 18, "crop": 16},
        "command": "zoo evaluate mine animals.tar",
        "batch_size": 64,
        "threads": 1,
        "images_per_second": 100.5,
        "latency_ms": 1.25,
        "environment": {
            "date": "2024-02-29",
            "python": "3.12.1",
            "system": "Linux",
            "processor": "Abacus",
            "cores": 1,
            "versions": {"torch": "2.9.9"},
        },
        **changes,
    }
    return msgspec.convert(content, Measurement)


def record_of_mine(**changes: Any) -> dict[str, Any]:
    """Return the record of a model whose weights were measured, and are reported on too."""
    weights = {
        "sources": ["https://example.org/mine.pth"],
        "format": "native",
        "sha256": SHA256,
        "size_bytes": 12_345,
        "reproduced": [msgspec.to_builtins(as_manifest_entry(measured()))],
    }
    reported = [
        {"dataset": "animals/test", "top1_percent": 77.25, "source": "a paper, table 2"},
        {"dataset": "animals/test", "top1_percent": 77.0, "source": "its code"},
    ]
    return record(weights=[weights], reported=reported, **changes)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout, up to date: manifest, a measurement, a page, two templates."""
    root = tmp_path / "checkout"
    (root / "docs/tables").mkdir(parents=True)
    (root / "benchmarks/results/accuracy").mkdir(parents=True)
    write_manifest(root, {"mine": record_of_mine()}, "weights_manifest.json")
    write_measurement(root, measured())
    (root / "benchmarks/results/speed.json").write_text('{"cars": {"seconds": 1.25}}')
    (root / "docs/tables/models.md").write_text("{{ reproduced_table(rows) }}\n")
    (root / "docs/tables/speed.md").write_text(
        'It takes {{ result("speed.json").cars.seconds | fixed(1) }} s.\n'
    )
    (root / "README.md").write_text(
        "# Mine\n\n<!-- table: models -->\n<!-- end table -->\n\nText.\n\n"
        "<!-- table: speed -->\nIt takes an hour.\n<!-- end table -->\n"
    )
    assert run("table", "--write", "--root", root)[0] == 0
    return root


def write_measurement(root: Path, measurement: Measurement) -> Path:
    """Write a measurement where the checkout keeps them."""
    name = measurement_file(measurement.model, measurement.dataset)
    path = root / "benchmarks/results/accuracy" / name
    path.write_bytes(msgspec.json.encode(measurement))
    return path


# --- what is committed -------------------------------------------------------------------------


def test_committed_numbers_are_up_to_date() -> None:
    """The README, the documents, results.csv and the manifest, against their sources."""
    assert find_drift(ROOT) == []
    assert "<!-- table: reproduced -->" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "page", [str(p.relative_to(ROOT)) for pattern in PAGES for p in sorted(ROOT.glob(pattern))]
)
def test_measured_numbers_stand_in_generated_blocks(page: str) -> None:
    """A decimal with a unit of measurement is nowhere typed by hand."""
    text = (ROOT / page).read_text("utf-8")
    by_hand = re.sub(r"<!-- table: .*?<!-- end table -->", "", text, flags=re.DOTALL)
    assert re.findall(r"\d\.\d+ ?(?:%|×|points?\b|ms\b|s\b|MB\b|M\b|images/s)", by_hand) == []


def test_every_template_is_used() -> None:
    """No block is rendered for nobody."""
    text = "".join(p.read_text("utf-8") for pattern in PAGES for p in ROOT.glob(pattern))
    names = {path.stem for path in (ROOT / "docs/tables").glob("*.md")}
    assert names == set(re.findall(r"<!-- table: ([a-z0-9-]+) -->", text))


def test_builtin_tables_have_every_model_and_only_measured_numbers() -> None:
    measurements = read_measurements(builtin_measurements())
    assert measurements
    rows = make_rows(read_manifest(builtin_manifest()).models, measurements)
    assert {row.model.partition("@")[0] for row in rows} == {name for name, _ in find_records()}
    of_rows = [row.measurement for row in rows if row.measurement]
    assert sorted(m.model for m in of_rows) == sorted(m.model for m in measurements)


# --- drift -------------------------------------------------------------------------------------


def test_write_fills_the_blocks_and_leaves_the_rest(checkout: Path) -> None:
    text = (checkout / "README.md").read_text()
    assert "<!-- table: speed -->\n\nIt takes 1.2 s.\n\n<!-- end table -->" in text
    assert text.startswith("# Mine\n\n<!-- table: models -->\n\n| model |")
    assert "\n\nText.\n\n" in text
    assert run("table", "--check", "--root", checkout)[0] == 0
    assert run("table", "--write", "--root", checkout) == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("README.md", "1.2 s", "1.1 s"),
        ("README.md", "75.50 %", "77.50 %"),
        ("benchmarks/results/results.csv", ",75.5,", ",77.5,"),
        ("benchmarks/results/speed.json", "1.25", "1.75"),
        ("weights_manifest.json", "77.25", "79.25"),
        ("docs/tables/speed.md", "It takes", "Now it takes"),
    ],
)
def test_a_number_changed_on_either_side_is_found(
    checkout: Path, file: str, old: str, new: str
) -> None:
    path = checkout / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    code, output = run("table", "--check", "--root", checkout)
    assert code == 1
    assert "out of date. Run `zoo table --write`." in output
    run("table", "--write", "--root", checkout)
    assert run("table", "--check", "--root", checkout)[0] == 0


def test_mistakes_in_pages_and_templates_are_named(checkout: Path) -> None:
    page, template = checkout / "README.md", checkout / "docs/tables/speed.md"
    good = template.read_text()
    template.write_text('{{ result("sped.json").cars }}')
    with pytest.raises(InvalidArgument, match=r"no sped\.json\. Did you mean 'speed\.json'"):
        generate(checkout)
    template.write_text('{{ result("speed.json").bikes.seconds }}')
    with pytest.raises(InvalidArgument, match=r"docs/tables/speed\.md: .*no attribute 'bikes'"):
        generate(checkout)
    template.write_text(good)
    page.write_text(page.read_text().replace("table: speed", "table: sped"))
    with pytest.raises(InvalidArgument, match=r"docs/tables/sped\.md: TemplateNotFound"):
        generate(checkout)
    page.write_text("<!-- table: speed -->\nno end")
    with pytest.raises(InvalidArgument, match=r"README\.md: .* lacks its `<!-- end table -->`"):
        generate(checkout)


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    code, output = run("table", "--check", "--root", tmp_path)
    assert code == 2
    assert "no weights_manifest.json" in output and "--root" in output


def test_a_broken_measurement_is_named(checkout: Path) -> None:
    path = write_measurement(checkout, measured())
    path.write_text(path.read_text().replace('"samples":200', '"samples":0'))
    with pytest.raises(InvalidManifest, match=rf"{re.escape(path.name)}: not a measurement.*samp"):
        generate(checkout)


# --- manifest against measurements -------------------------------------------------------------


def disagreements(
    change_entry: Change | None = None,
    change_weights: Change | None = None,
    measurements: list[Measurement] | None = None,
    tmp_path: Path | None = None,
) -> list[str]:
    content = record_of_mine()
    weights = content["weights"][0]
    if change_entry:
        change_entry(weights["reproduced"][0])
    if change_weights:
        change_weights(weights)
    assert tmp_path
    path = write_manifest(tmp_path, {"mine": content})
    found = [measured()] if measurements is None else measurements
    return find_disagreements(read_manifest(path).models, found)


def test_agreement(tmp_path: Path) -> None:
    assert disagreements(tmp_path=tmp_path) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("top1_percent", 75.51), ("top5_percent", 95.5), ("top5_percent", None), ("samples", 201)],
)
def test_a_manifest_entry_that_differs(tmp_path: Path, field: str, value: Any) -> None:
    (problem,) = disagreements(lambda entry: entry.update({field: value}), tmp_path=tmp_path)
    assert problem.startswith(f"mine: `reproduced` on {DATASET!r} differs from its measurement.")
    assert '"top1_percent":75.5,' in problem


def test_a_manifest_entry_that_nobody_measured(tmp_path: Path) -> None:
    (problem,) = disagreements(measurements=[], tmp_path=tmp_path)
    assert "has no measurement mine.ten-animals-200-images.json" in problem


def test_a_measurement_of_other_weights(tmp_path: Path) -> None:
    problems = disagreements(
        change_weights=lambda weights: weights.update(sha256=OTHER_SHA256), tmp_path=tmp_path
    )
    assert len(problems) == 2
    assert "is about the file 222222222222…, the measurement about 111111111111…" in problems[0]
    assert "weights 111111111111… that the manifest does not have any more" in problems[1]


def test_a_measurement_that_the_manifest_lacks(tmp_path: Path) -> None:
    (problem,) = disagreements(
        change_weights=lambda weights: weights.update(reproduced=[]), tmp_path=tmp_path
    )
    assert "not in the manifest" in problem and '"samples":200' in problem


def test_a_measurement_of_no_model(tmp_path: Path) -> None:
    (problem,) = disagreements(measurements=[measured(), measured(model="x")], tmp_path=tmp_path)
    assert "the manifest has no model 'x'" in problem


def test_a_measurement_that_contradicts_itself(tmp_path: Path) -> None:
    wrong = measured(top1_percent=75.504)
    (problem,) = disagreements(measurements=[wrong], tmp_path=tmp_path)
    assert "its percents are not those of its counts, (75.5, 95.0," in problem


# --- reported and reproduced -------------------------------------------------------------------


def rows_of(tmp_path: Path, content: dict[str, Any], *found: Measurement) -> list[Row]:
    return make_rows(read_manifest(write_manifest(tmp_path, {"mine": content})).models, found)


def test_reproduced_is_empty_where_nobody_ran_it(tmp_path: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text(rows_of(tmp_path, record_of_mine()))))
    assert row["reported_top1_percent"] == "77.25"
    assert row["reported_source"] == "a paper, table 2"
    assert row["also_reported"] == "77 (its code)"
    assert row["weights"] == "published"
    empty = ["reproduced_top1_percent", "interval_low_percent", "samples", "latency_ms", "torch"]
    assert {row[column] for column in empty} == {""}


def test_reproduced_stands_beside_reported(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, record_of_mine(), measured())
    (row,) = csv.DictReader(io.StringIO(csv_text(rows)))
    assert list(row) == list(CSV_COLUMNS)
    assert row["reported_top1_percent"] == "77.25" and row["reproduced_top1_percent"] == "75.5"
    assert (row["interval_low_percent"], row["interval_high_percent"]) == ("69.096", "80.943")
    assert row["measured_on"] == DATASET and row["images"] == "animals/test"
    assert (row["latency_ms"], row["processor"], row["torch"]) == ("1.25", "Abacus", "2.9.9")
    for table in (reproduced_table(rows), full_tables(rows)):
        assert "75.50 % (69.10 to 80.94)" in table and "1.25 ms, Abacus" in table
        assert "0.01 MB" in table and "†" not in table
    assert "| 77.25 % [1], 77 % [2] |" in full_tables(rows)
    assert full_tables(rows).endswith("Reported by:\n\n1. a paper, table 2\n2. its code")


def test_a_measurement_on_other_images_gets_a_row_of_its_own(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, record_of_mine(), measured(benchmark="plants/test"))
    assert [(r.benchmark, len(r.reported), bool(r.measurement)) for r in rows] == [
        ("animals/test", 2, False),
        ("plants/test", 0, True),
    ]


def test_reports_about_other_data_sets_are_not_about_these_weights(tmp_path: Path) -> None:
    content = record_of_mine()
    content["reported"].append({"dataset": "animals2/test", "top1_percent": 50, "source": "x"})
    rows = rows_of(tmp_path, content)
    assert [(r.benchmark, r.status, r.size_bytes) for r in rows] == [
        ("animals/test", "published", 12_345),
        ("animals2/test", "none", None),
    ]


def test_status_of_weights(tmp_path: Path) -> None:
    """Verified means that a file with this digest was loaded; embedded, that it comes along."""
    content = record_of_mine()
    golden = {"weights_sha256": OTHER_SHA256, "logits": [1.0], "std": 1.0}
    content["golden"] = [golden]
    assert rows_of(tmp_path, content)[0].status == "published"
    golden["weights_sha256"] = SHA256
    assert rows_of(tmp_path, content)[0].status == "verified"
    content["weights"][0]["sources"] = ["package:weights/mine.safetensors"]
    (row,) = rows_of(tmp_path, content)
    assert (row.status, row.reported_of_another_training) == ("embedded", True)
    assert "77.25 % † [1]" in full_tables([row])
    content["weights"][0]["reported"] = [
        {"dataset": "animals/test", "top1_percent": 76, "source": "of these weights"}
    ]
    assert not rows_of(tmp_path, content)[0].reported_of_another_training


def test_each_training_has_the_reports_about_it(tmp_path: Path) -> None:
    content = record_of_mine()
    content["weights"].append(
        {
            "sources": ["https://example.org/better.pth"],
            "format": "native",
            "tag": "better",
            "reported": [{"dataset": "animals/test", "top1_percent": 80.5, "source": "a blog"}],
        }
    )
    first, second = rows_of(tmp_path, content, measured())
    assert (first.model, second.model) == ("mine", "mine@better")
    assert first.measurement and not second.measurement
    assert second.reported == (
        Accuracy(dataset="animals/test", top1_percent=80.5, source="a blog"),
    )


def test_the_command_prints_what_fits_the_pattern(checkout: Path) -> None:
    code, output = run("table", "nb201-*")
    assert code == 0
    assert output.startswith("## NasBench201\n\n| model |")
    code, output = run("table", "nb201-idx?", "--csv")
    assert {row["model"] for row in csv.DictReader(io.StringIO(output))} == {"nb201-idx0"}
    code, output = run("table", "nb201_resnet_like")
    assert code == 2
    assert "no model's name fits 'nb201_resnet_like'. Did you mean 'nb201-resnet-like'" in output
    shutil.rmtree(checkout / "benchmarks/results/accuracy")
    (checkout / "benchmarks/results/accuracy").mkdir()
    _, empty = run(
        "table", "--csv", "--measurements", checkout / "benchmarks/results/accuracy", "proxyless-*"
    )
    assert {r["reproduced_top1_percent"] for r in csv.DictReader(io.StringIO(empty))} == {""}


def test_models_of_users_are_equals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "measurements"
    folder.mkdir()
    (folder / "mine.json").write_bytes(msgspec.json.encode(measured()))
    monkeypatch.setenv("ZOO_MANIFESTS", str(write_manifest(tmp_path, {"mine": record_of_mine()})))
    code, output = run("table", "mine", "--measurements", folder)
    assert code == 0 and "| 75.50 % (69.10 to 80.94) |" in output
