"""`Network`: what every frozen network of the zoo offers, in timm's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.errors import InvalidArgument


class Network(nn.Module):
    """A frozen network: `stem`, a list of `stages`, `final`, pooling, `hidden`, `classifier`.

    Subclasses build these modules; the names are checkpoint keys. `space`,
    `architecture`, `architecture_hash`, `preprocessing` and `labels` are plain
    data, set by the space and the loader.

    Shapes:
        images: (batch, in_chans, height, width)
        returns: (batch, num_classes)
    """

    stem: nn.Module
    stages: nn.ModuleList
    final: nn.Module
    hidden: nn.Module
    classifier: nn.Module

    def __init__(self, *, num_classes: int, in_chans: int, dropout: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.dropout = dropout
        self.num_features = 0
        self.head_hidden_size = 0
        self.feature_info: list[dict[str, Any]] = []
        self.gradient_checkpointing = False
        self.space = ""
        self.architecture: dict[str, Any] = {}
        self.architecture_hash = ""
        self.preprocessing: Any = None
        self.labels: tuple[str, ...] | str = ()

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last feature map: (batch, num_features, height, width)."""
        features = self.stem(in_fast_layout(images))
        for stage in self.stages:
            if self.gradient_checkpointing and self.training:
                features = run_checkpointed(stage, features)
            else:
                features = stage(features)
        return self.final(features)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits, or with `pre_logits` the (batch, head_hidden_size) vector before them."""
        pooled = self.hidden(features.mean((2, 3)))
        pooled = nn.functional.dropout(pooled, self.dropout, self.training)
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer; an identity when `num_classes` is 0."""
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new, randomly initialised one; 0 leaves an identity.

        Raises:
            InvalidArgument: `num_classes` is not an integer between 0 and 1,000,000.
        """
        check_count("num_classes", num_classes, minimum=0)
        like = next(self.parameters())
        self.num_classes = num_classes
        self.classifier = make_classifier(self.head_hidden_size, num_classes)
        self.classifier.to(like.device, like.dtype)

    def features_only(self, out_indices: Sequence[int] | None = None) -> FeatureBackbone:
        """Return a backbone for dense prediction that shares this network's parameters.

        Args:
            out_indices: Entries of `feature_info` to return; None for all, negative from the end.

        Raises:
            InvalidArgument: `out_indices` is no list of indices of feature maps.
        """
        return FeatureBackbone(self, out_indices)

    def no_weight_decay(self) -> set[str]:
        """Return names of parameters, beyond biases and norms, that must not decay."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns that put parameters in depth order, for layer-wise decay."""
        return {
            "stem": r"^stem",
            "blocks": [
                (r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)", None),
                (r"^(?:final|hidden)", (99999,)),
            ],
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade compute for memory in training: keep activations at stage borders only."""
        self.gradient_checkpointing = enable


class FeatureBackbone(nn.Module):
    """Stem and stages of a network; returns a list of feature maps, one per `feature_info` entry.

    Shapes:
        images: (batch, in_chans, height, width)
        returns: [(batch, num_chs, ~height / reduction, ~width / reduction), …]
    """

    def __init__(self, network: Network, out_indices: Sequence[int] | None = None) -> None:
        super().__init__()
        available = network.feature_info
        indices = range(len(available)) if out_indices is None else out_indices
        valid = range(-len(available), len(available))
        if (
            not isinstance(indices, Sequence)
            or not indices
            or any(type(index) is not int or index not in valid for index in indices)
        ):
            raise InvalidArgument(
                f"out_indices={out_indices!r}: expected a list of integers from {valid.start} to "
                f"{valid.stop - 1}, because the network has {len(available)} feature maps"
            )
        self.feature_info = [available[index] for index in indices]
        self.taps = [int(info["stage"]) for info in self.feature_info]
        self.stem = network.stem
        self.stages = nn.ModuleList(network.stages[: max(self.taps) + 1])

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.stem(in_fast_layout(images))
        by_stage = {-1: features}
        for index, stage in enumerate(self.stages):
            features = stage(features)
            by_stage[index] = features
        return [by_stage[tap] for tap in self.taps]


def in_fast_layout(images: Tensor) -> Tensor:
    """Return the images in memory layout channels-last where that is faster: on CPUs with oneDNN.

    Every convolution hands the layout on; from and to another one oneDNN copies each time.
    """
    # Permuted by hand: torch.vmap has no rule for `contiguous(memory_format=…)`.
    if images.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return images


def run_checkpointed(module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(x)`, computed again in the backward pass instead of keeping activations."""
    return checkpoint(
        module,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _keep_statistics(module)),
    )


@contextmanager
def _keep_statistics(module: nn.Module) -> Iterator[None]:
    # The second run sees the same batch and must not move the running statistics again.
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def make_classifier(in_features: int, num_classes: int) -> nn.Module:
    """Return a linear layer with small normal weights and zero bias; identity for 0 classes."""
    if num_classes == 0:
        return nn.Identity()
    return Linear(in_features, num_classes)


class Linear(nn.Linear):
    """A linear layer that starts so, instead of drawing PyTorch's start first."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)


def describe_features(stages: Sequence[tuple[int, int]], stem: tuple[int, int]) -> list[dict]:
    """Return timm-style `feature_info`: the last map of every resolution.

    Args:
        stages: (channels, reduction) of each stage's output.
        stem: the same for the stem's output.
    """
    maps = [(-1, *stem), *((index, *shape) for index, shape in enumerate(stages))]
    last_of = {reduction: (index, channels) for index, channels, reduction in maps}
    return [
        {
            "num_chs": channels,
            "reduction": reduction,
            "module": "stem" if index < 0 else f"stages.{index}",
            "stage": index,
        }
        for reduction, (index, channels) in last_of.items()
    ]


def check_count(name: str, value: Any, minimum: int) -> None:
    """Raise InvalidArgument unless `value` is an integer in minimum … 1,000,000."""
    if type(value) is not int or not minimum <= value <= 1_000_000:
        raise InvalidArgument(f"{name}={value!r}: expected an integer from {minimum} to 1,000,000")
