"""`zoo table`: reported and reproduced accuracy side by side; and the tables in the documents."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import click

from zoo.errors import InvalidArgument, suggest
from zoo.manifest import PACKAGE_ROOT, find_records
from zoo.tables.columns import csv_text, full_tables
from zoo.tables.measurement import builtin_measurements, read_measurements
from zoo.tables.pages import find_drift, generate
from zoo.tables.rows import make_rows


@click.command()
@click.argument("pattern", default="*")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of Markdown.")
@click.option(
    "--measurements",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of files by benchmarks/accuracy.py, instead of those that come with the zoo.",
)
@click.option("--write", is_flag=True, help="Renew the tables in README, docs and results.csv.")
@click.option("--check", is_flag=True, help="Exit with 1 if a committed number is out of date.")
@click.option("--root", type=click.Path(path_type=Path), help="Checkout for --write and --check.")
def command(
    pattern: str,
    as_csv: bool,
    measurements: Path | None,
    write: bool,
    check: bool,
    root: Path | None,
) -> None:
    """Print reported and reproduced accuracy, size and speed of the models that fit PATTERN.

    Reported is what somebody else measured, with the source; reproduced is what was measured
    with this project, and empty where nobody has.
    """
    if write or check:
        checkout = find_checkout(root)
        if write:
            _write(checkout)
        if check:
            _check(checkout)
        return
    records = {n: r for n, r in find_records() if fnmatch.fnmatchcase(n, pattern)}
    if not records:
        known = [name for name, _ in find_records()]
        raise InvalidArgument(f"no model's name fits {pattern!r}.{suggest(pattern, known)}")
    rows = make_rows(records, read_measurements(measurements or builtin_measurements()))
    click.echo(csv_text(rows) if as_csv else full_tables(rows), nl=not as_csv)


def find_checkout(root: Path | None) -> Path:
    """Return the folder with the manifest and the documents.

    Raises:
        InvalidArgument: there is none; the zoo is installed, not checked out.
    """
    folder = root or PACKAGE_ROOT.parent
    for name in ("weights_manifest.json", "README.md"):
        if not (folder / name).is_file():
            raise InvalidArgument(
                f"{folder}: no {name}, so this is no checkout of the project. Name one with --root."
            )
    return folder


def _write(root: Path) -> None:
    for path, text in generate(root).items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            click.echo(f"wrote {path.relative_to(root)}")


def _check(root: Path) -> None:
    problems = find_drift(root)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(1)
    click.echo("all numbers are those of the manifest and the results")
