"""Build a network without memory for its parameters: weights are assigned afterwards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

M = TypeVar("M", bound=nn.Module)

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


def make_or_copy(make: Callable[..., M], *arguments: Hashable) -> M:
    """Return `make(*arguments)`; while parameters have no memory, a copy of one made before.

    Empty modules made alike differ in nothing, and a supernet is cut into thousands of networks
    of a few kinds of layers: copying one takes a sixth of the time of making it.
    """
    if torch.empty(0).is_meta:
        return _copy_empty(_make_once(torch.get_default_dtype(), make, *arguments))
    return make(*arguments)


@functools.lru_cache(maxsize=512)
def _make_once(dtype: torch.dtype, make: Callable[..., nn.Module], *arguments: Hashable) -> Any:
    del dtype  # part of the cache key
    return make(*arguments)


def _copy_empty(module: M) -> M:
    # copy.deepcopy would do, but takes as long as making the module.
    twin = module.__new__(type(module))
    attributes = vars(twin)
    attributes.update(vars(module))
    for name, value in attributes.items():
        if isinstance(value, (dict, set)):  # modules, parameters, hooks
            attributes[name] = value.copy()
    for name, parameter in module._parameters.items():
        if parameter is not None:
            twin._parameters[name] = nn.Parameter(parameter)
    for name, child in module._modules.items():
        if child is not None:
            twin._modules[name] = _copy_empty(child)
    return twin
