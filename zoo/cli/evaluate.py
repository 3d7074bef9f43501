"""`zoo evaluate`: measured accuracy beside the reported one."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.output import echo_json, percent
from zoo.cli.progress import progress_bar
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.measured import Measured
from zoo.evaluation.preflight import check_dataset
from zoo.evaluation.report import verdict
from zoo.manifest import Entry, find_entry
from zoo.records import Accuracy, Reproduction
from zoo.registry import class_folders, load_searched_model


@click.command()
@click.argument("name")
@click.argument("data")
@click.option("--split", default="validation", show_default=True, help="Split of the data.")
@click.option("--root", type=click.Path(path_type=Path), help="Where named data sets are stored.")
@click.option("--download", is_flag=True, help="Let a named data set download itself.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Weights from this file.")
@click.option("--expect", type=float, metavar="%", help="Top-1 to compare with.")
@click.option(
    "--tolerance",
    type=float,
    metavar="POINTS",
    help="Allowed difference; without it, the 95 % interval of the measurement decides.",
)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--workers", type=int, help="Data-loading processes; chosen for this machine.")
@click.option("--device", help="Such as cpu or cuda.")
@click.option("--check", is_flag=True, help="Decode every image first; list unreadable ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    name: str,
    data: str,
    split: str,
    root: Path | None,
    download: bool,
    checkpoint: Path | None,
    expect: float | None,
    tolerance: float | None,
    batch_size: int,
    workers: int | None,
    device: str | None,
    check: bool,
    as_json: bool,
) -> None:
    """Measure the model NAME on DATA; exit with 1 if it disagrees with what was reported.

    DATA is a folder of class folders, a .tar of class folders, or a name that
    timm's data sets know, such as torch/cifar10 (with --root).
    """
    entry = find_entry(name)
    network = load_searched_model(name, checkpoint=checkpoint, device=device)
    images = open_dataset(data, split=split, root=root, download=download)
    folders = class_folders(entry.record)
    check_dataset(images, network.num_classes, folders, decode=check).raise_problems()
    with progress_bar(name) as progress:
        measured = evaluate(
            network,
            images,
            preprocessing=entry.preprocessing,
            batch_size=batch_size,
            workers=workers,
            device=device,
            progress=progress,
        )
    target = expect if expect is not None else expected_accuracy(entry, len(images))
    judged = None if target is None else verdict(measured, target, tolerance)
    if as_json:
        echo_json({"name": name, "data": data, "measured": _summary(measured), "verdict": judged})
    else:
        _echo(name, entry, measured)
        click.echo("nothing was reported to compare with" if judged is None else str(judged))
    if judged is not None and not judged.agrees:
        raise SystemExit(1)


def expected_accuracy(entry: Entry, samples: int) -> Accuracy | Reproduction | None:
    """Return what to compare with: our own figure on as many images, else the reported one."""
    reproduced = [r for weights in entry.weights for r in weights.reproduced]
    reported = [r for weights in entry.weights for r in weights.reported]
    same_size = [r for r in reproduced if r.samples == samples]
    return next(iter([*same_size, *reported, *entry.record.reported, *reproduced]), None)


def _summary(measured: Measured) -> dict[str, object]:
    return {
        "samples": measured.samples,
        "top1_count": measured.top1_count,
        "top5_count": measured.top5_count,
        "top1_percent": measured.top1_percent,
        "top5_percent": measured.top5_percent,
        "top1_interval_percent": measured.top1_interval_percent,
        "class_top1_percents": measured.class_top1_percents,
        "images_per_second": round(measured.images_per_second, 1),
    }


def _echo(name: str, entry: Entry, measured: Measured) -> None:
    low, high = measured.top1_interval_percent
    click.secho(name, bold=True)
    click.echo(
        f"  measured    top-1 {percent(measured.top1_percent)} "
        f"(95 % interval {low:.2f} to {high:.2f}), top-5 {percent(measured.top5_percent)}, "
        f"{measured.top1_count} and {measured.top5_count} of {measured.samples} images, "
        f"{measured.images_per_second:.0f} images/s"
    )
    rows = [("reported", r) for r in entry.record.reported]
    for weights in entry.weights:
        rows += [("reported", r) for r in weights.reported]
        rows += [("reproduced", r) for r in weights.reproduced]
    for kind, row in rows:
        click.echo(
            f"  {kind:<11} top-1 {percent(row.top1_percent)}, top-5 {percent(row.top5_percent)}, "
            f"{row.dataset}"
        )
