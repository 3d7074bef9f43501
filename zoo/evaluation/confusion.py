"""A picture of which classes are taken for which."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.errors import InvalidArgument
from zoo.evaluation.files import replace_file

SHOWN = 30  # classes whose names can still be read in one picture
NAME_LENGTH = 24


def find_most_confused(
    confusion: Counter[tuple[int, int]], num_classes: int, limit: int = SHOWN
) -> list[int]:
    """Return up to `limit` classes, those of the most frequent mistakes, each beside its mistake.

    All classes in their order when there are no more than `limit`, the first ones without mistakes.
    """
    if num_classes <= limit:
        return list(range(num_classes))
    mistakes: Counter[tuple[int, int]] = Counter()
    for (true, predicted), images in confusion.items():
        if true != predicted:
            mistakes[min(true, predicted), max(true, predicted)] += images
    chosen: dict[int, None] = {}
    for pair, _ in sorted(mistakes.items(), key=lambda item: (-item[1], item[0])):
        if len(chosen.keys() | set(pair)) <= limit:
            chosen |= dict.fromkeys(pair)
    return list(chosen) or list(range(limit))


def draw_confusion(
    confusion: Counter[tuple[int, int]], names: Sequence[str], path: Path, title: str = ""
) -> None:
    """Write a PNG: a row for each true class, a column for each predicted one, in percent.

    With more than `SHOWN` classes it shows those of the most frequent mistakes, and a
    column for all others.

    Args:
        confusion: {(true, predicted): images}, as `count_confusion` returns it.
        names: Class names in the order of the network's outputs.

    Raises:
        InvalidArgument: matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = find_most_confused(confusion, len(names))
    counts = _fill_matrix(confusion, shown, with_others=len(shown) < len(names))
    labels = [_shorten(names[index]) for index in shown]
    columns = labels + ["all others"] * (counts.shape[1] - len(labels))
    percents = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    inches = 2.5 + 0.3 * len(columns)
    figure = Figure(figsize=(inches + 1, inches), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="predicted class", ylabel="true class (images)")
    picture = axes.imshow(percents, cmap="Blues", vmin=0, vmax=100)
    for row, column in zip(*np.nonzero(percents >= 0.5), strict=True):
        colour = "white" if percents[row, column] > 55 else "black"
        text = f"{percents[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
    totals = counts.sum(axis=1).astype(int)
    rows = [f"{label} ({total})" for label, total in zip(labels, totals, strict=True)]
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, fontsize=8, rotation=90)
    which = "" if len(shown) == len(names) else f"the {len(shown)} most confused of {len(names)}"
    axes.set_title(", ".join(filter(None, [title, which])), fontsize=10)
    figure.colorbar(picture, label="% of the images of the true class", shrink=0.6)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    replace_file(path, content.getvalue())


def check_matplotlib() -> None:
    """Raise unless pictures can be drawn.

    Raises:
        InvalidArgument: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InvalidArgument(
            "a picture needs matplotlib: pip install 'searched-zoo[plot]'"
        ) from None


def _fill_matrix(
    confusion: Counter[tuple[int, int]], shown: Sequence[int], *, with_others: bool
) -> np.ndarray:
    place = {index: position for position, index in enumerate(shown)}
    matrix = np.zeros((len(shown), len(shown) + with_others))
    for (true, predicted), images in confusion.items():
        if true in place:
            matrix[place[true], place.get(predicted, -1)] += images
    return matrix


def _shorten(name: str) -> str:
    first = name.split(",")[0]
    return first if len(first) <= NAME_LENGTH else first[: NAME_LENGTH - 1] + "…"
