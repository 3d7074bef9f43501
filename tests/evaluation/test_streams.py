"""Data that is read in order: every image once, none left out, or an error."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset

from tests.digits import PREPROCESSING, build_network
from zoo.errors import DatasetError
from zoo.evaluation.accuracy import classify
from zoo.evaluation.datasets import open_dataset, open_images
from zoo.evaluation.streams import ImageStream


class Counting(IterableDataset):
    """Images of one number each; `length` is what it says it has."""

    def __init__(self, length: int | None = None, images: int = 10) -> None:
        self.length, self.images = length, images

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("unknown")
        return self.length

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        for index in range(self.images):
            yield torch.full((3, 4, 4), float(index)), index % 2


class OneHot(torch.nn.Module):
    """Says that the class of an image is its number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 10).float()


def run(data: Any, **options: Any) -> list[int]:
    (answers,) = classify([(OneHot(), None)], data, batch_size=3, **options)
    assert answers.targets.tolist() == [n % 2 for n in range(len(answers.targets))]
    return answers.predictions[:, 0].tolist()


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("length", [None, 10])
def test_every_image_is_answered_once(workers: int, length: int | None) -> None:
    stream = open_images(Counting(length))
    assert isinstance(stream, ImageStream) and stream.samples == length
    assert run(stream, workers=workers) == list(range(10))
    assert run(Counting(length), workers=workers) == list(range(10))


def test_progress_of_a_stream() -> None:
    seen: list[tuple[int, int]] = []
    run(open_images(Counting(10)), workers=0, progress=lambda *at: seen.append(at))
    assert seen == [(3, 10), (6, 10), (9, 10), (10, 10)]
    seen.clear()
    run(open_images(Counting()), workers=0, progress=lambda *at: seen.append(at))
    assert seen == [(3, 3), (6, 6), (9, 9), (10, 10)]


@pytest.mark.parametrize(("length", "found"), [(9, "found more"), (11, "found 10")])
def test_another_number_of_images_than_promised_is_an_error(length: int, found: str) -> None:
    with pytest.raises(DatasetError, match=f"Counting: {length} images expected, {found}"):
        run(open_images(Counting(length)), workers=0)


def test_streams_have_no_index(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no index, and training and resuming need one"):
        open_dataset(Counting())
    with pytest.raises(DatasetError, match="no index, and training and resuming need one"):
        run(Counting(), state_path=tmp_path / "state")
    with pytest.raises(DatasetError, match="no images to evaluate"):
        run(Counting(images=0), workers=0)


@pytest.fixture
def shards(digits: Path, tmp_path: Path) -> Path:
    """Return a folder with the digits in two shards of a webdataset, in the order of the folder."""
    wds = pytest.importorskip("webdataset", reason="pip install 'searched-zoo[data]'")
    images = open_dataset(digits)
    for number in range(2):
        with wds.TarWriter(str(tmp_path / f"digits-{number:03}.tar")) as shard:
            for index in range(60 * number, (60, 123)[number]):
                image, target = images[index]
                content = io.BytesIO()
                image.save(content, format="png")
                sample = {"__key__": f"{index:04}", "png": content.getvalue(), "cls": str(target)}
                shard.write(sample)
    return tmp_path


def open_shards(shards: Path, suffix: str = "") -> ImageStream:
    stream = open_images("wds/digits", root=shards, split=f"digits-{{000..001}}.tar{suffix}")
    assert isinstance(stream, ImageStream)
    return stream


@pytest.mark.parametrize("workers", [0, 2])
def test_webdataset_is_the_folder(digits: Path, shards: Path, workers: int) -> None:
    candidates = [(build_network(), PREPROCESSING)]
    (expected,) = classify(candidates, open_dataset(digits), workers=0)
    for suffix in ("", "|123"):
        (found,) = classify(candidates, open_shards(shards, suffix), workers=workers)
        assert torch.equal(found.targets, expected.targets)
        assert torch.equal(found.predictions, expected.predictions)


def test_webdataset_leaves_nothing_out(shards: Path) -> None:
    candidates = [(build_network(), PREPROCESSING)]
    with pytest.raises(DatasetError, match="wds/digits: 124 images expected, found 123"):
        classify(candidates, open_shards(shards, "|124"), workers=0)
    second = shards / "digits-001.tar"
    content = second.read_bytes()
    place = content.index(b"\x89PNG", len(content) // 2)
    second.write_bytes(content[:place] + b"no image" + content[place + 8 :])
    for workers in (0, 1):
        with pytest.raises(DatasetError, match=r"reading failed after \d+ images .*cannot identi"):
            classify(candidates, open_shards(shards), workers=workers)
    second.unlink()
    with pytest.raises(DatasetError, match="reading failed after 60 images"):
        classify(candidates, open_shards(shards), workers=0)
