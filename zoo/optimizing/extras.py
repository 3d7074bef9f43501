"""Packages that only some backends need: present or not, and what to do about it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from zoo.errors import OptimizationError

# Package → the extra of this project that brings it.
EXTRA_OF = {
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
}


def is_installed(packages: Iterable[str]) -> bool:
    """Return whether all packages are there, without importing one."""
    return not find_missing(packages)


def find_missing(packages: Iterable[str]) -> list[str]:
    """Return the packages that are not there."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def check_installed(purpose: str, packages: Iterable[str]) -> None:
    """Raise unless all packages are there.

    Raises:
        OptimizationError: names what is missing and the command that brings it.
    """
    if missing := find_missing(packages):
        extras = ",".join(sorted({EXTRA_OF[name] for name in missing}))
        raise OptimizationError(
            f"{purpose} needs {' and '.join(missing)}: pip install 'searched-zoo[{extras}]'"
        )
