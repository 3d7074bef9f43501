"""`zoo evaluate`: measured accuracy beside the reported one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from zoo.cli.output import echo_json, percent
from zoo.cli.progress import progress_bar
from zoo.evaluation.answers import count_confusion
from zoo.evaluation.confusion import check_matplotlib, draw_confusion
from zoo.evaluation.labels import VARIANTS
from zoo.evaluation.measured import Measured
from zoo.evaluation.named import Evaluation, evaluate_models
from zoo.evaluation.per_class import write_per_class
from zoo.evaluation.processes import join_processes
from zoo.manifest import Entry
from zoo.registry import class_names

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.argument("data")
@click.option("--split", default="validation", show_default=True, help="Split of the data.")
@click.option("--root", type=click.Path(path_type=Path), help="Where named data sets are stored.")
@click.option("--download", is_flag=True, help="Let a named data set download itself.")
@click.option(
    "--labels",
    type=click.Choice(list(VARIANTS)),
    help="DATA is ImageNet with ReaL labels, ImageNetV2, ImageNet-A or -R.",
)
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
@click.option("--state", type=FILE, help="Answers so far; a killed run goes on from this file.")
@click.option("--per-class", type=FILE, help="Write a CSV row for each class.")
@click.option("--confusion", type=FILE, help="Draw which classes are taken for which, as a PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; a list for several models.")
def command(
    names: tuple[str, ...],
    data: str,
    split: str,
    root: Path | None,
    download: bool,
    labels: str | None,
    checkpoint: Path | None,
    expect: float | None,
    tolerance: float | None,
    batch_size: int,
    workers: int | None,
    device: str | None,
    check: bool,
    state: Path | None,
    per_class: Path | None,
    confusion: Path | None,
    as_json: bool,
) -> None:
    """Measure models on DATA; exit with 1 if one disagrees with what was reported.

    DATA is a folder of class folders, a .tar of class folders, or a name that
    timm's data sets know, such as torch/cifar10 (with --root) or wds/… (with
    --root and the shards as --split). Each image is decoded once for all
    models. Several processes share the images under
    `torchrun --nproc_per_node 2 -m zoo.cli.main evaluate …` or `accelerate launch`.
    """
    _check_options(names, checkpoint, expect, [per_class, confusion])
    if confusion is not None:
        check_matplotlib()
    with progress_bar(" ".join(names)) as progress:
        found = evaluate_models(
            names,
            data,
            labels=labels,
            expect=expect,
            tolerance_points=tolerance,
            checkpoint=checkpoint,
            device=device,
            check_images=check,
            opening={"split": split, "root": root, "download": download},
            batch_size=batch_size,
            workers=workers,
            state_path=state,
            progress=progress,
        )
    if join_processes().is_main_process:
        if per_class is not None:
            rows = {e.name: (e.measured, class_names(e.entry.record)) for e in found if e.measured}
            write_per_class(rows, per_class)
        if confusion is not None:
            _draw(found, confusion)
        if as_json:
            summaries = [_summary(evaluation, data) for evaluation in found]
            echo_json(summaries if len(found) > 1 else summaries[0])
        else:
            _echo(found)
    if not all(evaluation.agrees for evaluation in found):
        raise SystemExit(1)


def _check_options(
    names: Sequence[str],
    checkpoint: Path | None,
    expect: float | None,
    files: Sequence[Path | None],
) -> None:
    if len(names) > 1 and (checkpoint is not None or expect is not None):
        raise click.UsageError("--checkpoint and --expect are for a single model")
    if len(set(names)) < len(names):
        raise click.UsageError("each model once")
    for path in files:
        # Found out now, not after hours.
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(f"{path}: there is no folder {path.parent}")


def _draw(found: Sequence[Evaluation], path: Path) -> None:
    for evaluation in found:
        if evaluation.measured is None:
            continue
        own = path if len(found) == 1 else path.with_stem(f"{path.stem}-{evaluation.name}")
        title = f"{evaluation.name}, top-1 {percent(evaluation.measured.top1_percent)}"
        names = class_names(evaluation.entry.record)
        draw_confusion(count_confusion(evaluation.answers), names, own, title)


def _summary(evaluation: Evaluation, data: str) -> dict[str, object]:
    measured = evaluation.measured
    summary: dict[str, object] = {
        "name": evaluation.name,
        "data": data,
        "labels": None if evaluation.variant is None else evaluation.variant.name,
        "measured": None if measured is None else _counts(measured),
        "verdict": evaluation.verdict,
    }
    return summary if evaluation.error is None else summary | {"error": evaluation.error}


def _counts(measured: Measured) -> dict[str, object]:
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


def _echo(found: Sequence[Evaluation]) -> None:
    variant = found[0].variant
    if variant is not None:
        judged = "" if variant.classes is None else f", {len(variant.classes)} classes are judged"
        click.echo(f"labels of {variant.dataset} (--labels {variant.name}){judged}")
    for evaluation in found:
        click.secho(evaluation.name, bold=True)
        if evaluation.measured is None:
            click.echo(f"  measured    nothing: {evaluation.error}")
            continue
        _echo_counts(evaluation.measured)
        _echo_records(evaluation.entry)
        verdict = evaluation.verdict
        click.echo("nothing was reported to compare with" if verdict is None else str(verdict))


def _echo_counts(measured: Measured) -> None:
    low, high = measured.top1_interval_percent
    click.echo(
        f"  measured    top-1 {percent(measured.top1_percent)} "
        f"(95 % interval {low:.2f} to {high:.2f}), top-5 {percent(measured.top5_percent)}, "
        f"{measured.top1_count} and {measured.top5_count} of {measured.samples} images, "
        f"{measured.images_per_second:.0f} images/s"
    )


def _echo_records(entry: Entry) -> None:
    rows = [("reported", r) for r in entry.record.reported]
    for weights in entry.weights:
        rows += [("reported", r) for r in weights.reported]
        rows += [("reproduced", r) for r in weights.reproduced]
    for kind, row in rows:
        click.echo(
            f"  {kind:<11} top-1 {percent(row.top1_percent)}, top-5 {percent(row.top5_percent)}, "
            f"{row.dataset}"
        )
