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


def make_or_copy(make: Callable[..., M], *arguments: Hashable, **options: Hashable) -> M:
    """Return `make(*arguments, **options)`, mostly as a copy of one made before.

    Networks consist of few kinds of layers, and copying one takes a sixth of the time of making
    it. A copy owns its parameters and buffers and has drawn them as the original would: a layer
    that comes here sets all of them in `reset_parameters`, its own or those of its parts.
    """
    template = _make_once(torch.get_default_dtype(), make, *arguments, **options)
    return _copy(template, empty=torch.empty(0).is_meta)


@functools.lru_cache(maxsize=512)
def _make_once(
    dtype: torch.dtype, make: Callable[..., Any], *arguments: Hashable, **options: Hashable
) -> Any:
    del dtype  # part of the cache key
    with EmptyParameters():
        return make(*arguments, **options)


def _copy(module: M, empty: bool) -> M:
    # copy.deepcopy would do for empty modules, but takes as long as making them.
    twin = module.__new__(type(module))
    attributes = vars(twin)
    attributes.update(vars(module))
    for name, value in attributes.items():
        if isinstance(value, (dict, set)):  # modules, parameters, and hooks: mostly there are none
            attributes[name] = value.copy() if value else type(value)()
    for name, child in module._modules.items():
        if child is not None:
            twin._modules[name] = _copy(child, empty)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            twin._parameters[name] = nn.Parameter(parameter if empty else _allocate(parameter))
    if not empty:
        for name, buffer in module._buffers.items():
            if buffer is not None:
                twin._buffers[name] = _allocate(buffer)
        if hasattr(twin, "reset_parameters"):
            twin.reset_parameters()  # type: ignore[operator]
    return twin


def _allocate(like: torch.Tensor) -> torch.Tensor:
    return torch.empty(like.shape, dtype=like.dtype)
