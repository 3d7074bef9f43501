"""Handwritten digits in two splits, and computing with one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.digits import write_digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 240 training and 101 validation images."""
    root = tmp_path_factory.mktemp("digits")
    write_digits(root / "train", 0, 240)
    write_digits(root / "val", 240, 341)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums then do not depend on how many threads there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
