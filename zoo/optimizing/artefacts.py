"""Files made for a network on this machine, kept in the zoo's cache.

What decides a file is its key: the network, the size of its images, the versions of what made it,
and the machine. A file found under its key is what would be made again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from zoo.evaluation.state import find_network_digest
from zoo.hub.cache import Cache, cache_root

LOG = logging.getLogger("zoo")

Write = Callable[[Path], None]


class Artefacts:
    """The files of one network for images of one size."""

    def __init__(
        self, network: nn.Module, image_shape: Iterable[int], cache_dir: Path | None = None
    ) -> None:
        self.cache = Cache(cache_root(cache_dir))
        self.network_sha256 = find_network_digest(network)
        self._identity = {
            "network": self.network_sha256,
            # Modules and weights do not tell how a cell is wired.
            "architecture": getattr(network, "architecture_hash", ""),
            "image_shape": list(image_shape),
            "machine": describe_machine(),
        }

    def find(self, key: dict[str, Any]) -> Path | None:
        """Return the intact file of this key, or None."""
        return self.cache.find_made("optimized", self._text(key))

    @contextmanager
    def obtain(self, key: dict[str, Any], write: Write, *, anew: bool = False) -> Iterator[Path]:
        """Give the file of this key, written now if it is not there; gone afterwards if the cache
        cannot be written to.

        Args:
            anew: Write it even if it is there.
        """
        found = None if anew else self.find(key)
        if found is not None:
            yield found
        elif self.cache.writable():
            yield self.cache.keep_made("optimized", self._text(key), write)
        else:
            LOG.warning("%s cannot be written to: what is made is not kept", self.cache.root)
            with tempfile.TemporaryDirectory() as folder:
                write(path := Path(folder) / "made")
                yield path

    def _text(self, key: dict[str, Any]) -> str:
        return msgspec.json.encode(self._identity | key, order="sorted").decode()


def describe_machine() -> dict[str, Any]:
    """Return what decides which form of a network is fast here."""
    return {
        "system": platform.system(),
        "processor": find_processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def find_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of torch, this project and these packages."""
    names = ("torch", "searched-zoo", *packages)
    return {name: _find_version(name) for name in names}


def find_tensor_digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's shape and values."""
    digest = hashlib.sha256(f"{tuple(tensor.shape)}".encode())
    digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _find_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        return ""


def find_processor() -> str:
    """Return what this machine's processor is called."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
