"""Memory that is kept while computing, and threads that compute pieces of a batch."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import DatasetError
from zoo.evaluation.accuracy import classify
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.lanes import open_lanes
from zoo.evaluation.memory import keeping_memory
from zoo.evaluation.panel import PIECE, Panel

CPU = torch.device("cpu")
MODEL = "nb201-resnet-like-mini"
LARGE = 2**24  # numbers in a tensor of 64 MiB


@pytest.fixture
def three_threads(one_thread: None) -> Iterator[None]:
    torch.set_num_threads(3)
    yield


@pytest.fixture
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MALLOC_", "GLIBC_TUNABLES")):
            monkeypatch.delenv(name)


def count_page_faults() -> int:
    """Return how many pages this process got while it made and freed a tensor ten times."""
    torch.ones(LARGE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(LARGE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def read_resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.skipif("MALLOC_MMAP_THRESHOLD_" in os.environ, reason="glibc's malloc is set up")
def test_memory_is_kept_inside_and_returned_outside(untuned: None) -> None:
    with keeping_memory(CPU):
        with keeping_memory(CPU):
            count_page_faults()
        inside = count_page_faults()
        kept = read_resident_bytes()
    assert read_resident_bytes() < kept - 2 * LARGE
    outside = count_page_faults()
    assert outside > 10 * (1 + inside)


@pytest.mark.skipif(sys.platform != "linux", reason="ctypes finds no C library")
def test_memory_is_left_alone_elsewhere_and_where_it_is_tuned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ctypes

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: pytest.fail("glibc was asked"))
    with keeping_memory(torch.device("cuda")):
        pass
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000000")
    with keeping_memory(CPU):
        pass
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    monkeypatch.setattr(os, "confstr", lambda _name: "musl 1.2")
    with keeping_memory(CPU):
        pass


def test_lanes_share_the_threads(three_threads: None) -> None:
    for limit, expected in ((0, 3), (1, 3), (2, 1), (9, 1)):
        with open_lanes(limit) as run:
            assert list(run(lambda _: torch.get_num_threads(), range(4))) == [expected] * 4
            assert (run is map) == (expected == 3)
        assert torch.get_num_threads() == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_answers_do_not_depend_on_lanes(
    digits: Path, three_threads: None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_dataset(digits)
    network = zoo.load_searched_model(MODEL)
    candidate = (network, network.preprocessing)
    threads = set()
    answer_piece = Panel._answer_piece

    def noted(self: Panel, piece: tuple[torch.Tensor, ...]) -> torch.Tensor:
        threads.add((len(piece[0]), torch.get_num_threads()))
        return answer_piece(self, piece)

    monkeypatch.setattr(Panel, "_answer_piece", noted)
    (expected,) = classify([candidate], images, workers=workers, batch_size=1)
    assert threads == {(1, 3)}
    threads.clear()
    (found,) = classify([candidate], images, workers=workers, batch_size=50)
    assert threads == {(PIECE, 1), (50 - 3 * PIECE, 1), (123 - 100 - PIECE, 1)}
    assert torch.equal(found.predictions, expected.predictions)
    assert torch.equal(found.targets, expected.targets)
    assert torch.get_num_threads() == 3


def test_what_others_hooked_into_a_network_is_called_in_order(
    digits: Path, three_threads: None
) -> None:
    network, seen = zoo.load_searched_model(MODEL), []
    network.register_forward_hook(lambda _network, _inputs, logits: seen.append(len(logits)))
    classify([(network, network.preprocessing)], open_dataset(digits), workers=0, batch_size=50)
    assert seen == [50, 50, 23]


def test_a_lane_tells_its_error(digits: Path, three_threads: None) -> None:
    network = zoo.load_searched_model(MODEL, num_classes=3)
    with pytest.raises(DatasetError, match="network has outputs 0 to 2"):
        classify([(network, network.preprocessing)], open_dataset(digits), workers=0, batch_size=50)
    assert torch.get_num_threads() == 3
