"""Build a network without memory for its parameters: weights are assigned afterwards."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.tensor}
# What some initialisers do without asking for the mode; slow on meta tensors, and for nothing.
_FILLERS = {torch.Tensor.fill_, torch.Tensor.zero_}


class EmptyParameters(TorchFunctionMode):
    """While active in this thread, new tensors are meta tensors and initialisers do nothing.

    A network built inside must get all its parameters and buffers by assignment.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        if func in _FACTORIES:
            kwargs["device"] = kwargs.get("device") or "meta"
        elif getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        elif func in _FILLERS and args[0].is_meta:
            return args[0]
        return func(*args, **kwargs)
