"""Models of a user: a manifest, architecture files and weights in a folder of the test."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from zoo import NasBench201
from zoo.checkpoints.load import save_checkpoint
from zoo.networks.network import Network

# Small and fast: one cell per stack, four channels.
SETTINGS = {"channels": 4, "cells_per_stack": 1, "num_classes": 5}
CHOICES = {
    "0->1": "nor_conv_3x3",
    "0->2": "skip_connect",
    "1->2": "nor_conv_1x1",
    "0->3": "avg_pool_3x3",
    "1->3": "none",
    "2->3": "nor_conv_3x3",
}
LABELS = ["ant", "bee", "cat", "dog", "elk"]
PREPROCESSING = {"resize": 18, "crop": 16, "mean": [0.5] * 3, "std": [0.25] * 3}


def record(**changes: Any) -> dict[str, Any]:
    """Return the record of a small model, whose architecture is `mine.json` beside it."""
    return {
        "space": "NasBench201",
        "architecture": "mine.json",
        "settings": SETTINGS,
        "dataset": "animals",
        "labels": LABELS,
        "parameters": 2961,
        "macs": 1,
        "preprocessing": PREPROCESSING,
        "license": "MIT",
        "paper": {"title": "Animals", "year": 2024, "url": "https://example.org/animals"},
        **changes,
    }


def write_manifest(folder: Path, models: dict[str, Any], name: str = "manifest.json") -> Path:
    """Write a manifest, and the architecture file that its records name."""
    (folder / "mine.json").write_text(json.dumps({"space": "NasBench201", "choices": CHOICES}))
    path = folder / name
    path.write_text(json.dumps({"schema_version": 1, "models": models}))
    return path


def build(seed: int = 0, choices: dict[str, str] = CHOICES, **settings: Any) -> Network:
    """Return the network of the record, with seeded random weights and statistics."""
    torch.manual_seed(seed)
    network = NasBench201.from_settings({**SETTINGS, **settings}).build(dict(choices))
    for key, tensor in network.state_dict().items():
        if key.endswith("running_mean"):
            tensor.normal_(std=0.1)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return network.eval()


def autodl_keys(network: Network) -> dict[str, torch.Tensor]:
    """Return the state dict of a network in the names of the benchmark's authors."""
    from zoo.checkpoints.formats.autodl import AUTODL

    tensors = network.state_dict()
    names = AUTODL.names["NasBench201"](list(tensors), [])
    return {names[key]: tensor for key, tensor in tensors.items()}


def write_foreign(folder: Path, network: Network, name: str = "mine.pth") -> dict[str, Any]:
    """Write the network as its authors would; return its entry for `weights`."""
    torch.save(autodl_keys(network), folder / name)
    return describe(folder / name, "autodl")


def write_native(folder: Path, network: Network, name: str = "mine.safetensors") -> dict[str, Any]:
    """Write the network as a native file; return its entry for `weights`."""
    save_checkpoint(network, folder / name, {})
    return describe(folder / name, "native")


def describe(path: Path, format_name: str) -> dict[str, Any]:
    """Return the entry for `weights` of a file beside the manifest."""
    content = path.read_bytes()
    return {
        "sources": [f"file://{path.name}"],
        "format": format_name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
