"""A table of each class: images, right answers, accuracy."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.evaluation.files import replace_file
from zoo.evaluation.measured import Measured

COLUMNS = ("model", "index", "class", "samples", "top1_count", "top1_percent")


def write_per_class(results: Mapping[str, tuple[Measured, Sequence[str]]], path: Path) -> None:
    """Write one CSV row for each class that has images.

    Args:
        results: For each model what was measured, and its class names in order.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for model, (measured, names) in results.items():
        columns = (names, measured.class_samples, measured.class_top1_counts)
        for index, (name, samples, right) in enumerate(zip(*columns, strict=True)):
            if samples:
                rows.writerow([model, index, name, samples, right, f"{100 * right / samples:.2f}"])
    replace_file(path, text.getvalue().encode())
