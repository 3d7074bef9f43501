"""A zoo of searched architectures: spaces, frozen networks, verified weights.

Everything here is loaded when it is first used, so that `import zoo` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import errors as errors
    from zoo.checkpoints.load import load_checkpoint as load_checkpoint
    from zoo.manifest import add_manifest as add_manifest
    from zoo.registry import list_models as list_models
    from zoo.registry import load_searched_model as load_searched_model
    from zoo.registry import model_info as model_info
    from zoo.registry import transform_for as transform_for
    from zoo.spaces.base import SearchSpace as SearchSpace
    from zoo.spaces.mobilenetv3 import MobileNetV3Space as MobileNetV3Space
    from zoo.spaces.nasbench201 import NasBench201 as NasBench201
    from zoo.spaces.proxylessnas import ProxylessNAS as ProxylessNAS

__version__ = "0.1.0"

_HOME_OF = {
    "MobileNetV3Space": "zoo.spaces.mobilenetv3",
    "NasBench201": "zoo.spaces.nasbench201",
    "ProxylessNAS": "zoo.spaces.proxylessnas",
    "SearchSpace": "zoo.spaces.base",
    "add_manifest": "zoo.manifest",
    "list_models": "zoo.registry",
    "load_checkpoint": "zoo.checkpoints.load",
    "load_searched_model": "zoo.registry",
    "model_info": "zoo.registry",
    "transform_for": "zoo.registry",
}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    if name == "errors":
        return importlib.import_module("zoo.errors")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
