"""Which parameters are the head, and training the head alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from zoo.errors import TrainingError


def find_head(model: nn.Module) -> nn.Module:
    """Return the classifier, by timm's `get_classifier` protocol.

    Raises:
        TrainingError: the model has no `get_classifier`, or a classifier without parameters.
    """
    find: Any = getattr(model, "get_classifier", None)
    head = find() if find is not None else None
    if isinstance(head, (tuple, list)):
        head = nn.ModuleList(head)
    if head is None or not any(True for _ in head.parameters()):
        raise TrainingError(
            f"{type(model).__name__}: training the head alone needs get_classifier() to return a "
            f"module with parameters, got {head!r}. Set num_classes, or train the whole network."
        )
    return head


def find_trainable(model: nn.Module) -> dict[str, bool]:
    """Return which parameters require a gradient, by name."""
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def set_trainable(model: nn.Module, trainable: Mapping[str, bool], *, head_only: bool) -> None:
    """Let gradients reach the `trainable` parameters, or only those in the head."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trainable[name] and not head_only)
    if head_only:
        find_head(model).requires_grad_(True)


def set_training_mode(model: nn.Module, *, head_only: bool) -> None:
    """Put the network into training mode; with `head_only` the backbone stays in eval mode.

    Otherwise batch statistics would change a backbone that nothing trains.
    """
    model.train(not head_only)
    if head_only:
        find_head(model).train()
