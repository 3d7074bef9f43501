"""Random weights in the place and form of published ones, for whoever loads them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from speed_of.measuring import in_process
from speed_of.networks import TORCHVISION
from zoo.hub.checksum import file_sha256
from zoo.manifest import find_entry
from zoo.records import Manifest, Weights

MODEL = "benchmarked"  # what the zoo calls it

_SAVE = """
import sys, timm
from safetensors.torch import save_file
save_file(timm.create_model(sys.argv[1]).state_dict(), sys.argv[2])
print(0)
"""
_SAVE_TORCHVISION = """
import sys, pathlib, torch, torchvision
name, folder = sys.argv[1:]
url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
path = pathlib.Path(folder, "hub", "checkpoints", url.rpartition("/")[2])
path.parent.mkdir(parents=True)
torch.save(torchvision.models.get_model(name).state_dict(), path)
print(0)
"""


@dataclass(frozen=True)
class Published:
    """A file as timm publishes it, and the environment in which the zoo and torchvision have
    weights of the same network; `cache` is the zoo's."""

    file: Path
    cache: Path
    environment: dict[str, str]


@contextmanager
def publish(name: str, timm_name: str) -> Iterator[Published]:
    """Give random weights of one network, made by timm, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        file = folder / f"{timm_name}.safetensors"
        in_process(_SAVE, timm_name, str(file))
        if name in TORCHVISION:
            in_process(_SAVE_TORCHVISION, TORCHVISION[name], str(folder))
        manifest = folder / "manifest.json"
        manifest.write_bytes(_manifest_of(name, file))
        cache = folder / "cache"
        yield Published(
            file,
            cache,
            {
                "ZOO_MANIFESTS": str(manifest),
                "ZOO_HOME": str(cache),
                "TORCH_HOME": str(folder),
                # The children find the zoo where this process found it.
                "PYTHONPATH": ":".join(filter(None, sys.path)),
            },
        )


def _manifest_of(name: str, file: Path) -> bytes:
    """Return a manifest with one model, the known one under another name."""
    entry = find_entry(name)
    record = msgspec.structs.replace(
        entry.record,
        architecture=str(entry.base_dir / entry.record.architecture),
        golden=(),
        weights=(
            Weights(
                sources=(f"file://{file}",),
                format=entry.weights[0].format,
                sha256=file_sha256(file),
            ),
        ),
    )
    return msgspec.json.encode(Manifest(schema_version=1, models={MODEL: record}))
