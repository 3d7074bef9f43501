"""`Optimized`: a network in a form that runs fast on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import InvalidArgument
from zoo.optimizing.folding import fold_batch_norm
from zoo.optimizing.proof import Proof, Runner

if TYPE_CHECKING:
    from zoo.optimizing.choice import Choice

_CARRIED = ("preprocessing", "labels", "num_classes", "in_chans", "space", "architecture")


class Optimized(nn.Module):
    """A network for inference; it predicts like the one it was made from, as `proof` says.

    It keeps `preprocessing`, `labels`, `num_classes` and `in_chans`. `choice` says what "auto"
    measured; it is None when the backend was asked for. The state dict holds one tensor, the
    SHA-256 of the network it was made from.

    Args:
        run: What computes the logits.
        image_shape: (channels, height, width) that `run` was compiled for; None for any.

    Shapes:
        images: (batch, channels, height, width)
        returns: (batch, num_classes)
    """

    source_sha256: Tensor

    def __init__(
        self,
        network: nn.Module,
        run: Runner,
        *,
        backend: str,
        precision: str,
        proof: Proof,
        network_sha256: str,
        image_shape: tuple[int, ...] | None,
    ) -> None:
        super().__init__()
        self.run = run
        self.backend = backend
        self.precision = precision
        self.proof = proof
        self.image_shape = image_shape
        self.choice: Choice | None = None
        for name in _CARRIED:
            setattr(self, name, getattr(network, name, None))
        digest = torch.tensor(list(bytes.fromhex(network_sha256)), dtype=torch.uint8)
        self.register_buffer("source_sha256", digest)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        if self.image_shape is not None:
            self._check(images)
        return self.run(images.detach())

    def train(self, mode: bool = True) -> Optimized:
        """Stay in evaluation mode.

        Raises:
            InvalidArgument: training was asked for.
        """
        if mode:
            raise InvalidArgument(
                "an optimised network is for inference; train the network it was made from, "
                "then optimise that again"
            )
        return super().train(False)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"backend={self.backend!r}, precision={self.precision!r}"

    def _check(self, images: Tensor) -> None:
        found: Any = (tuple(images.shape[1:]), images.dtype, images.device.type)
        expected: Any = (self.image_shape, torch.float32, "cpu")
        if found != expected or not len(images):
            raise InvalidArgument(
                f"images: got {tuple(images.shape)} of {images.dtype} on {images.device}; this "
                f"{self.backend} network was compiled for (batch, "
                f"{', '.join(map(str, self.image_shape or ()))}) of torch.float32 on cpu. "
                "Bring the images into that form, optimise with an example of theirs, or use "
                "backend='eager', which takes any."
            )


class Eager(nn.Module):
    """The network with norms folded, in memory layout channels-last; run by PyTorch itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = use_channels_last(fold_batch_norm(network))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.contiguous(memory_format=torch.channels_last))


def use_channels_last(network: nn.Module) -> nn.Module:
    """Put the weights of convolutions into the layout in which CPUs and GPUs compute fastest."""
    return network.to(memory_format=torch.channels_last)
