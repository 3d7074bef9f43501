"""The answers so far in a file, so that a killed evaluation goes on where it was.

The file says which evaluation it belongs to: networks, preprocessing, data and versions. It
does not depend on batch size or number of processes, so these may change in between.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from zoo.errors import InvalidArgument
from zoo.evaluation.files import replace_file
from zoo.evaluation.images import ImageClasses

LIBRARIES = ("torch", "torchvision", "pillow")  # those that decide what a network answers


def find_identity(
    networks: Iterable[nn.Module], images: ImageClasses, settings: dict[str, Any]
) -> dict[str, str]:
    """Return what makes two evaluations the same one, as texts by field.

    Args:
        settings: Whatever else decides the answers.
    """
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    fields = settings | {"versions": versions}
    return {
        "networks": " ".join(find_network_digest(network) for network in networks),
        "data": find_data_digest(images),
        **{name: msgspec.json.encode(value).decode() for name, value in fields.items()},
    }


def find_network_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's modules and of every tensor in its state."""
    digest = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def find_data_digest(images: ImageClasses) -> str:
    """Return the SHA-256 of a data set's name and of its images' file names and classes."""
    digest = hashlib.sha256(images.name.encode())
    for index, target in enumerate(images.find_targets()):
        digest.update(f"\n{images.file_name(index)} {target}".encode())
    return digest.hexdigest()


def save_rows(path: Path, rows: Tensor, identity: dict[str, str]) -> None:
    """Write the answers to the first `len(rows)` images.

    Raises:
        InvalidArgument: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, save({"rows": rows.contiguous()}, metadata=identity))
    except OSError as error:
        raise InvalidArgument(f"state: {path} cannot be written ({error})") from error


def read_rows(path: Path, identity: dict[str, str]) -> Tensor | None:
    """Return the answers in a state file, or None when there is no file.

    Raises:
        InvalidArgument: the file is damaged, or of another evaluation.
    """
    if not path.exists():
        return None
    advice = "Delete it to start again, or name another file."
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            rows = file.get_tensor("rows")
    except (OSError, SafetensorError) as error:
        raise InvalidArgument(
            f"state: {path} is damaged or no state of an evaluation ({error}). {advice}"
        ) from error
    other = [name for name in identity if found.get(name) != identity[name]]
    if other:
        raise InvalidArgument(
            f"state: {path} belongs to another evaluation: it differs in {', '.join(other)}. "
            f"{advice}"
        )
    return rows
