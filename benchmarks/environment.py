"""What a measurement was made with: versions, hardware, date."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zoo.optimizing.artefacts import find_processor

PACKAGES = (
    "torch", "torchvision", "timm", "safetensors", "huggingface_hub", "accelerate", "numpy",
    "pillow",
)  # fmt: skip


def describe_environment(more_packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return versions, processor, usable cores and today's date."""
    packages = (*PACKAGES, *more_packages)
    return {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": find_processor(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def write_result(
    path: Path | None,
    result: dict[str, Any],
    more_packages: Sequence[str] = (),
    *,
    echo: bool = True,
) -> None:
    """Print a result as JSON; write it with the environment if a path is given."""
    environment = describe_environment(more_packages)
    text = json.dumps({**result, "environment": environment}, indent=2, ensure_ascii=False)
    if echo:
        print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "utf-8")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
