"""The report on a data set before it is used (fault 62)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.digits import PREPROCESSING, build_network
from zoo.errors import DatasetError
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.preflight import check_dataset, without_unreadable

NAMES = [f"digit{number}" for number in range(10)]


def test_good_data_has_no_problems(digits: Path) -> None:
    report = check_dataset(open_dataset(digits), 10, NAMES)
    report.raise_problems()
    assert report.samples == sum(report.class_samples) == 123
    assert not report.warnings and not report.unreadable and not report.not_images


def test_other_number_of_classes(digits: Path) -> None:
    report = check_dataset(open_dataset(digits), 1000, decode=False)
    with pytest.raises(DatasetError, match="10 classes in the data, 1000 outputs of the network"):
        report.raise_problems()


def test_classes_in_another_order(digits: Path) -> None:
    swapped = ["digit1", "digit0", *NAMES[2:]]
    report = check_dataset(open_dataset(digits), 10, swapped, decode=False)
    with pytest.raises(DatasetError, match="class 0 is 'digit0' in the data and 'digit1'"):
        report.raise_problems()
    check_dataset(open_dataset(digits, class_names=swapped), 10, swapped).raise_problems()


def test_other_class_names(digits: Path) -> None:
    other = ["zero", *NAMES[1:]]
    report = check_dataset(open_dataset(digits), 10, other, decode=False)
    with pytest.raises(DatasetError, match="network has zero, data has digit0"):
        report.raise_problems()


def test_no_images(digits: Path) -> None:
    with pytest.raises(DatasetError, match="no images"):
        check_dataset(open_dataset(digits).select([]), 10).raise_problems()


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Every kind of image file there is, an empty class, and files that are no images."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for name in ("broken", "empty", "good"):
        (tmp_path / name).mkdir()
    good = tmp_path / "good"
    for mode, suffix in [
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("P", "png"),
        ("RGBA", "png"),
        ("1", "png"),
    ]:
        image.convert(mode).save(good / f"{mode}.{suffix}")
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(good / "16bit.png")
    image.save(good / "animated.gif", save_all=True, append_images=[image.rotate(90)])
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(good / "exif.jpg", exif=turned)
    whole = (good / "exif.jpg").read_bytes()
    (tmp_path / "broken" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken" / "nothing.png").write_bytes(b"")
    (tmp_path / "broken" / "page.jpg").write_bytes(b"<!doctype html><title>404</title>")
    (tmp_path / "good" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_messy_data_is_reported_by_file_name(messy: Path) -> None:
    dataset = open_dataset(messy)
    report = check_dataset(dataset, 3)
    assert report.class_samples == (3, 0, 8)
    assert {dataset.file_name(i) for i in report.unreadable} == {
        "broken/truncated.jpg",
        "broken/nothing.png",
        "broken/page.jpg",
    }
    assert report.not_images == ("good/Thumbs.db", "notes.txt")
    assert any("1 class(es) without images: empty" in warning for warning in report.warnings)
    with pytest.raises(DatasetError, match=r"3 image\(s\) cannot be decoded: .*truncated"):
        report.raise_problems()


def test_unreadable_images_fail_or_are_left_out_with_a_count(messy: Path) -> None:
    dataset = open_dataset(messy)
    network = build_network(3)
    for workers in (0, 1):
        with pytest.raises(DatasetError) as failure:
            evaluate(network, dataset, preprocessing=PREPROCESSING, workers=workers)
        assert str(failure.value).startswith(f"{messy}: broken/nothing.png cannot be decoded")
        assert "Traceback" not in str(failure.value)
    report = check_dataset(dataset, 3)
    report.raise_problems(allow_unreadable=True)
    rest = without_unreadable(dataset, report)
    assert len(rest) + len(report.unreadable) == len(dataset)
    assert evaluate(network, rest, preprocessing=PREPROCESSING, workers=0).samples == 8


def test_progress_counts_images(digits: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_dataset(open_dataset(digits), 10, progress=lambda *at: seen.append(at))
    assert seen[0] == (1, 123) and seen[-1] == (123, 123)
