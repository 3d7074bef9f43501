"""What the cells of the tables say: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from zoo.records import Accuracy
from zoo.tables.rows import Row

DIGITS = ("", *string.digits)  # first characters of cells that are numbers, or empty


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; columns of numbers are to the right."""
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = [
        "--:" if all(row[number][:1] in DIGITS for row in body) else "---"
        for number in range(len(header))
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *body])


def reproduced_table(rows: Iterable[Row]) -> str:
    """Return what we measured, beside what was reported, as one Markdown table."""
    measured = [row for row in rows if row.measurement]
    return markdown_table(
        [
            "model", "space", "measured on", "reproduced top-1 (95 % interval)", "reported",
            "parameters", "MACs", "file", "one image",
        ],
        [
            [
                f"`{row.model}`", row.record.space, _measured_on(row), _reproduced(row),
                _reported_percents(row), _millions(row.record.parameters),
                _millions(row.record.macs), _size(row), _latency(row),
            ]
            for row in measured
        ],
    )  # fmt: skip


def full_tables(rows: Iterable[Row]) -> str:
    """Return a Markdown table and a list of sources for each space."""
    sections = []
    for space, group in groupby(rows, key=lambda row: row.record.space):
        of_space = list(group)
        sources = list(dict.fromkeys(a.source for row in of_space for a in row.reported))
        numbers = {source: number for number, source in enumerate(sources, start=1)}
        table = markdown_table(
            [
                "model", "images", "reported top-1", "reproduced top-1 (95 % interval)",
                "measured on", "weights", "parameters", "MACs", "file", "one image",
            ],
            [
                [
                    f"`{row.model}`", row.benchmark, _reported(row, numbers), _reproduced(row),
                    _measured_on(row), row.status, _millions(row.record.parameters),
                    _millions(row.record.macs), _size(row), _latency(row),
                ]
                for row in of_space
            ],
        )  # fmt: skip
        listed = "\n".join(f"{number}. {source}" for source, number in numbers.items())
        sections.append(f"## {space}\n\n{table}" + (f"\n\nReported by:\n\n{listed}" * bool(listed)))
    return "\n\n".join(sections)


def csv_text(rows: Iterable[Row]) -> str:
    """Return the rows as CSV, one column for each fact."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        cells = (cell(row) for cell in CSV_COLUMNS.values())
        writer.writerow(["" if cell is None else cell for cell in cells])
    return file.getvalue()


def _of_measurement(field: str) -> Callable[[Row], object]:
    return lambda row: getattr(row.measurement, field, None)


def _of_environment(field: str) -> Callable[[Row], object]:
    return lambda row: getattr(row.measurement.environment, field) if row.measurement else None


def _first_reported(field: str) -> Callable[[Row], object]:
    return lambda row: getattr(row.reported[0], field) if row.reported else None


def _interval_end(end: int) -> Callable[[Row], object]:
    return lambda row: row.measurement and round(row.measurement.top1_interval_percent[end], 3)


CSV_COLUMNS: dict[str, Callable[[Row], object]] = {
    "model": lambda row: row.model,
    "space": lambda row: row.record.space,
    "images": lambda row: row.benchmark,
    "weights": lambda row: row.status,
    "reported_top1_percent": _first_reported("top1_percent"),
    "reported_top5_percent": _first_reported("top5_percent"),
    "reported_source": _first_reported("source"),
    "reported_of_another_training": lambda row: "yes" if _dagger(row) else None,
    "also_reported": lambda row: "; ".join(
        f"{a.top1_percent:g} ({a.source})" for a in row.reported[1:]
    ),
    "reproduced_top1_percent": _of_measurement("top1_percent"),
    "reproduced_top5_percent": _of_measurement("top5_percent"),
    "interval_low_percent": _interval_end(0),
    "interval_high_percent": _interval_end(1),
    "samples": _of_measurement("samples"),
    "measured_on": _of_measurement("dataset"),
    "date": _of_environment("date"),
    "parameters": lambda row: row.record.parameters,
    "macs": lambda row: row.record.macs,
    "file_size_bytes": lambda row: row.size_bytes,
    "latency_ms": _of_measurement("latency_ms"),
    "images_per_second": _of_measurement("images_per_second"),
    "processor": _of_environment("processor"),
    "torch": lambda row: row.measurement and row.measurement.environment.versions["torch"],
    "weights_sha256": _of_measurement("weights_sha256"),
    "license": lambda row: row.record.license,
}


def _reproduced(row: Row) -> str:
    if row.measurement is None:
        return ""
    low, high = row.measurement.top1_interval_percent
    return f"{row.measurement.top1_percent:.2f} % ({low:.2f} to {high:.2f})"


def _measured_on(row: Row) -> str:
    return row.measurement.dataset if row.measurement else ""


def _reported(row: Row, numbers: dict[str, int]) -> str:
    return ", ".join(f"{_percent(a)}{_dagger(row)} [{numbers[a.source]}]" for a in row.reported)


def _reported_percents(row: Row) -> str:
    percents = ", ".join(dict.fromkeys(f"{_percent(a)}{_dagger(row)}" for a in row.reported))
    return f"{percents} on {row.benchmark}" if percents else ""


def _dagger(row: Row) -> str:
    return " †" if row.reported_of_another_training else ""


def _percent(accuracy: Accuracy) -> str:
    return f"{accuracy.top1_percent:g} %"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _size(row: Row) -> str:
    return f"{row.size_bytes / 1e6:.2f} MB" if row.size_bytes else ""


def _latency(row: Row) -> str:
    if row.measurement is None:
        return ""
    return f"{row.measurement.latency_ms:.2f} ms, {row.measurement.environment.processor}"
