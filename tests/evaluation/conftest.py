"""Handwritten digits as class folders and as a tar."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.digits import write_digits, write_tar


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of ten class folders with 123 images."""
    return write_digits(tmp_path_factory.mktemp("digits"), 0, 123)


@pytest.fixture(scope="session")
def digits_tar(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same images in a tar file."""
    return write_tar(digits, tmp_path_factory.mktemp("tar") / "digits.tar")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: several tests run at once, each on little work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def timm_agreement() -> Any:
    """Return the benchmark that puts timm's evaluation together as its validate.py does."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module("timm_agreement")
