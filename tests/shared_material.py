"""Material that lies beside the project: tests that need it skip, with the reason, without it.

It is looked for in `ZOO_SHARED`, else in `../shared` beside the repository.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

# Read at import: every test runs without the ZOO_ variables of the user.
SHARED = Path(
    os.environ.get("ZOO_SHARED") or Path(__file__).resolve().parents[2] / "shared"
).resolve()
GOLDEN = SHARED / "golden"


def shared(relative: str) -> Path:
    """Return a file or folder of the shared material, or skip the test."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"no {path}: set ZOO_SHARED to the folder of the shared material")
    return path


@lru_cache(maxsize=1)
def read_catalog() -> dict[str, dict[str, Any]]:
    """Return the catalogue's records by name, or skip the test."""
    content = json.loads(shared("catalog/catalog.json").read_bytes())
    records = content if isinstance(content, list) else content["models"]
    return {record["name"]: record for record in records}


@dataclass(frozen=True)
class GoldenRecord:
    """One network as its authors implement it: keys, facts, logits."""

    folder: Path

    @property
    def family(self) -> str:
        """Whose code gave the logits: `cream`, `timm`, `nni` …."""
        return self.folder.parent.name

    @property
    def name(self) -> str:
        """What the network is called there."""
        return self.folder.name

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Architecture, settings, resolution, counts, and how the published file is wrapped."""
        return json.loads((self.folder / "meta.json").read_bytes())

    def logits(self) -> Tensor:
        """Return what the authors' code gave: (2, num_classes)."""
        return load_file(self.folder / "logits.safetensors")["logits"]

    def images(self) -> Tensor:
        """Return the input for those logits, or skip where this numpy draws other numbers."""
        images = _fill().make_input(self.meta["resolution"])
        self._compare("input", hashlib.sha256(images.numpy().tobytes()))
        return images

    def state_dict(self) -> dict[str, Tensor]:
        """Return the authors' state dict, or skip where this numpy draws other numbers."""
        keys = json.loads((self.folder / "keys.json").read_bytes())
        tensors = _fill().fill_state_dict(keys.get("keys", keys))
        digest = hashlib.sha256()
        for tensor in tensors.values():
            digest.update(tensor.numpy().tobytes())
        self._compare("state", digest)
        return tensors

    def write(self, folder: Path) -> Path:
        """Write a file as its authors publish it: with their root key and prefix."""
        wrapping = self.meta["checkpoint_format"]
        prefix = wrapping["prefix"] or ""
        content: Any = {f"{prefix}{key}": value for key, value in self.state_dict().items()}
        if wrapping["root_key"]:
            content = {wrapping["root_key"]: content, "epoch": 1}
        path = folder / f"{self.family}-{self.name}.pth"
        torch.save(content, path)
        return path

    def _compare(self, what: str, digest: hashlib._Hash) -> None:
        if digest.hexdigest() != self.meta["fill"][f"{what}_sha256"]:
            pytest.skip(f"{self.folder}: this numpy draws another {what} than the record's")


def golden_records() -> list[GoldenRecord]:
    """Return every record that has logits; none without the shared material."""
    return [GoldenRecord(path.parent) for path in sorted(GOLDEN.glob("*/*/logits.safetensors"))]


@lru_cache(maxsize=1)
def _fill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
