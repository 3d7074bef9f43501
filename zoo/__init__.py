"""A zoo of searched architectures: spaces, frozen networks, verified weights.

Everything here is loaded when it is first used, so that `import zoo` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import errors as errors
    from zoo.checkpoints.load import load_checkpoint as load_checkpoint
    from zoo.evaluation.accuracy import evaluate as evaluate
    from zoo.finetuning.named import finetune as finetune
    from zoo.manifest import add_manifest as add_manifest
    from zoo.optimizing.exporting import export as export
    from zoo.optimizing.optimize import optimize as optimize
    from zoo.registry import list_models as list_models
    from zoo.registry import load_searched_model as load_searched_model
    from zoo.registry import model_info as model_info
    from zoo.registry import transform_for as transform_for
    from zoo.spaces.amoebanet import AmoebaNet as AmoebaNet
    from zoo.spaces.autoformer import AutoformerSpace as AutoformerSpace
    from zoo.spaces.base import SearchSpace as SearchSpace
    from zoo.spaces.darts import DARTS as DARTS
    from zoo.spaces.enas import ENAS as ENAS
    from zoo.spaces.enas_macro import ENASMacro as ENASMacro
    from zoo.spaces.mobilenetv3 import MobileNetV3Space as MobileNetV3Space
    from zoo.spaces.nasbench101 import NasBench101 as NasBench101
    from zoo.spaces.nasbench201 import NasBench201 as NasBench201
    from zoo.spaces.nasnet import NASNet as NASNet
    from zoo.spaces.pnas import PNAS as PNAS
    from zoo.spaces.proxylessnas import ProxylessNAS as ProxylessNAS
    from zoo.spaces.shufflenet import ShuffleNetSpace as ShuffleNetSpace

__version__ = "0.1.0"

_HOME_OF = {
    "AmoebaNet": "zoo.spaces.amoebanet",
    "AutoformerSpace": "zoo.spaces.autoformer",
    "DARTS": "zoo.spaces.darts",
    "ENAS": "zoo.spaces.enas",
    "ENASMacro": "zoo.spaces.enas_macro",
    "MobileNetV3Space": "zoo.spaces.mobilenetv3",
    "NASNet": "zoo.spaces.nasnet",
    "NasBench101": "zoo.spaces.nasbench101",
    "NasBench201": "zoo.spaces.nasbench201",
    "PNAS": "zoo.spaces.pnas",
    "ProxylessNAS": "zoo.spaces.proxylessnas",
    "SearchSpace": "zoo.spaces.base",
    "ShuffleNetSpace": "zoo.spaces.shufflenet",
    "add_manifest": "zoo.manifest",
    "evaluate": "zoo.evaluation.accuracy",
    "export": "zoo.optimizing.exporting",
    "finetune": "zoo.finetuning.named",
    "list_models": "zoo.registry",
    "load_checkpoint": "zoo.checkpoints.load",
    "load_searched_model": "zoo.registry",
    "model_info": "zoo.registry",
    "optimize": "zoo.optimizing.optimize",
    "transform_for": "zoo.registry",
}

__all__ = ["__version__", "errors", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    if name == "errors":
        return importlib.import_module("zoo.errors")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
