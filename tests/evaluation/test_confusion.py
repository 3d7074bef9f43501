"""Which classes are taken for which: counts, choice, picture, table."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.evaluation.answers import Answers, count_confusion, measure
from zoo.evaluation.confusion import draw_confusion, find_most_confused
from zoo.evaluation.per_class import write_per_class


def answers(pairs: list[tuple[int, int]], num_classes: int) -> Answers:
    targets, predictions = torch.tensor(pairs).T
    return Answers(targets, predictions[:, None], num_classes, 1.0)


def test_counts() -> None:
    found = count_confusion(answers([(0, 0), (0, 1), (1, 1), (0, 1)], 3))
    assert found == {(0, 0): 1, (0, 1): 2, (1, 1): 1}


def test_few_classes_are_all_shown_in_their_order() -> None:
    assert find_most_confused(Counter({(2, 1): 9}), 3) == [0, 1, 2]


def test_of_many_classes_the_most_frequent_mistakes_are_shown() -> None:
    confusion = Counter(
        {(5, 5): 50, (900, 7): 3, (7, 900): 3, (4, 500): 5, (7, 8): 2, (30, 31): 1, (1, 2): 1}
    )
    assert find_most_confused(confusion, 1000, limit=6) == [7, 900, 4, 500, 8]
    assert find_most_confused(confusion, 1000, limit=7) == [7, 900, 4, 500, 8, 1, 2]
    assert find_most_confused(Counter({(5, 5): 50}), 1000) == list(range(30))


def blues(path: Path) -> int:
    """Return how many pixels of a picture are dark blue, as cells near 100 % are."""
    pixels = np.array(Image.open(path).convert("RGB")).astype(int)
    return int(((pixels[..., 2] > 80) & (pixels[..., 0] < 40)).sum())


def test_picture_of_few_classes(tmp_path: Path) -> None:
    names = ["cat", "dog", "a very long name, and another one that is left out"]
    right = Counter({(0, 0): 10, (1, 1): 10, (2, 2): 10})
    draw_confusion(right, names, tmp_path / "right.png", "a network, top-1 100.00 %")
    even = Counter({(t, p): 10 for t in range(3) for p in range(3)})
    draw_confusion(even, names, tmp_path / "even.png")
    assert blues(tmp_path / "right.png") > 3 * 20 * 20 + blues(tmp_path / "even.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["even.png", "right.png"]


def test_picture_of_many_classes_stays_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pairs = random.integers(0, 1000, size=(3000, 2)).tolist()
    confusion = Counter((true, predicted) for true, predicted in pairs)
    names = [f"name {index}" for index in range(1000)]
    draw_confusion(confusion, names, tmp_path / "many.png")
    width, height = Image.open(tmp_path / "many.png").size
    assert 600 < height < width < 2000
    draw_confusion(Counter({(3, 3): 9}), names, tmp_path / "perfect.png")
    assert blues(tmp_path / "perfect.png") > 100


def test_per_class_table(tmp_path: Path) -> None:
    measured = measure(answers([(0, 0), (0, 1), (2, 2), (0, 0)], 3))
    path = tmp_path / "classes.csv"
    names = ["cat, tabby", "dog", "elk"]
    write_per_class({"one": (measured, names), "two": (measured, names)}, path)
    with open(path) as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["model", "index", "class", "samples", "top1_count", "top1_percent"]
    assert rows[1:3] == [
        ["one", "0", "cat, tabby", "3", "2", "66.67"],
        ["one", "2", "elk", "1", "1", "100.00"],
    ]
    assert [row[0] for row in rows[3:]] == ["two", "two"]


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from zoo.errors import InvalidArgument
    from zoo.evaluation.confusion import check_matplotlib

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InvalidArgument, match=r"pip install 'searched-zoo\[plot\]'"):
        check_matplotlib()
