"""Prove on images that another form of a network predicts what the network predicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import InvalidArgument, VerificationError
from zoo.optimizing.folding import copy_for_inference
from zoo.records import Record
from zoo.verification import make_probe

Runner = Callable[[Tensor], Tensor]

TOLERANCE = 1e-3  # of the standard deviation of the logits
MIN_AGREEMENT = 0.999
PROOF_IMAGES = 4
BATCH_SIZE = 16  # of a proof on many images


class Proof(Record, frozen=True, kw_only=True):
    """How the logits of two forms of a network differ on the same images.

    `largest_relative` is the largest absolute difference over the standard deviation of all
    logits: a logit near zero says nothing. `tolerance` is its limit, None for none;
    `min_agreement` is the limit of `top1_agreement`, the share of images with the same class.
    """

    images: int
    largest_absolute: float
    largest_relative: float
    top1_agreement: float
    tolerance: float | None
    min_agreement: float

    def describe(self) -> str:
        """Return one line for people."""
        return (
            f"{self.images} images: logits differ by at most {self.largest_absolute:.2g}, "
            f"{self.largest_relative:.2g} of their deviation; "
            f"top-1 agrees on {self.top1_agreement:.2%}"
        )


@torch.inference_mode()
def prove(
    network: nn.Module,
    run: Runner,
    images: Tensor,
    what: str,
    *,
    tolerance: float | None = TOLERANCE,
    min_agreement: float = MIN_AGREEMENT,
    static_batch: bool = False,
) -> Proof:
    """Return how `run` differs from `network` in evaluation mode.

    Args:
        what: What `run` is, for the message.
        static_batch: `run` takes all images at once and nothing else; otherwise it gets
            them in batches of several sizes.

    Raises:
        VerificationError: the difference is beyond one of the limits.
        InvalidArgument: the network returns something else than logits.
    """
    network = copy_for_inference(network)
    # One image first: what was captured with several must work for it.
    batches = [images] if static_batch else [images[:1], *images[1:].split(BATCH_SIZE)]
    batches = [batch for batch in batches if len(batch)]
    answers = [network(batch) for batch in batches]
    if not all(isinstance(each, Tensor) and each.ndim == 2 for each in answers):
        raise InvalidArgument(
            f"{type(network).__name__}: expected a network that returns logits, (batch, classes); "
            f"got {type(answers[0]).__name__} of {[*getattr(answers[0], 'shape', [])]}"
        )
    expected = torch.cat(answers).float()
    found = torch.cat([run(batch) for batch in batches]).float()
    proof = compare(expected, found, tolerance, min_agreement)
    within = tolerance is None or proof.largest_relative <= tolerance
    if not (within and proof.top1_agreement >= min_agreement):
        limit = "no limit" if tolerance is None else f"limit {tolerance:g}"
        raise VerificationError(
            f"{what} does not predict like the network it was made from.\n  {proof.describe()} "
            f"({limit} of the deviation, {min_agreement:.2%} agreement).\n"
            "  Use another backend, or a wider limit if your application bears it."
        )
    return proof


def compare(
    expected: Tensor, found: Tensor, tolerance: float | None, min_agreement: float
) -> Proof:
    """Return the differences of two (images, classes) tensors of logits.

    Raises:
        VerificationError: the shapes differ.
    """
    if expected.shape != found.shape:
        raise VerificationError(
            f"expected logits of shape {tuple(expected.shape)}, got {tuple(found.shape)}"
        )
    absolute = (found - expected).abs().max().item()
    deviation = expected.std(correction=0).item()
    # Logits that are all the same have no scale; nothing but equality is an agreement then.
    relative = absolute / deviation if deviation else (absolute and math.inf)
    return Proof(
        images=len(expected),
        largest_absolute=absolute,
        largest_relative=relative,
        top1_agreement=(expected.argmax(1) == found.argmax(1)).float().mean().item(),
        tolerance=tolerance,
        min_agreement=min_agreement,
    )


def make_example(network: nn.Module) -> Tensor:
    """Return the probe of `zoo.verification` and as many images of seeded noise.

    Raises:
        InvalidArgument: the network does not know what its images are.
    """
    preprocessing: Any = getattr(network, "preprocessing", None)
    channels = getattr(network, "in_chans", None)
    if preprocessing is None or channels is None:
        raise InvalidArgument(
            "example: this network has no `preprocessing` and `in_chans` to make images from; "
            "give a batch of images as it takes them, such as torch.randn(8, 3, 224, 224)"
        )
    probe = make_probe(channels, preprocessing.crop)
    noise = torch.randn(
        PROOF_IMAGES - len(probe), *probe.shape[1:], generator=torch.Generator().manual_seed(0)
    )
    return torch.cat([probe, noise])


def fit_images(network: nn.Module, images: Tensor) -> Tensor:
    """Return the images on the network's device and in its type.

    Raises:
        InvalidArgument: they are no batch of images.
    """
    if images.ndim != 4 or not len(images):
        raise InvalidArgument(
            f"example: expected (batch, channels, height, width), got {tuple(images.shape)}"
        )
    like = next(network.parameters(), images)
    return images.detach().to(like.device, like.dtype)


def check_place(images: Tensor, what: str) -> None:
    """Raise unless images of this place and type can be handed to other runtimes.

    Raises:
        InvalidArgument: they are on a device, or no float32.
    """
    if images.device.type != "cpu" or images.dtype != torch.float32:
        raise InvalidArgument(
            f"{what} is for float32 networks on the CPU, but this one is {images.dtype} on "
            f"{images.device}; use network.float().cpu()"
        )
