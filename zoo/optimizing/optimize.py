"""`zoo.optimize`: from a loaded network to the fastest form of it that this machine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from zoo.errors import InvalidArgument
from zoo.optimizing.backends import EAGER, find_backend
from zoo.optimizing.optimized import Optimized
from zoo.optimizing.proof import MIN_AGREEMENT, TOLERANCE, fit_images, make_example
from zoo.optimizing.quantizing import INT8_MIN_AGREEMENT, check_calibration, hold_back
from zoo.optimizing.workshop import Workshop

Precision = Literal["float32", "int8"]


def optimize(
    network: nn.Module,
    example: Tensor | None = None,
    backend: str = "auto",
    *,
    precision: Precision = "float32",
    calibration: Tensor | None = None,
    tolerance: float = TOLERANCE,
    min_agreement: float | None = None,
    cache_dir: str | Path | None = None,
) -> Optimized:
    """Return the fastest form of a network that this machine can run, proved on images.

    Norms are folded and the layout is channels-last in every form. Compiled forms take images of
    the example's height and width, in batches of any size; they and what "auto" chose are kept
    in the cache, by network, machine and versions.

    Args:
        example: A batch of images as the network takes them: the proof is made on them, and
            "auto" measures with a batch of this size. None makes images from the network's
            preprocessing, and measures with a single one.
        backend: "eager", "inductor", "onnxruntime", "openvino", or "auto": the fastest in a
            short measurement of "eager", the runtimes that are installed, and "inductor" where
            this network was compiled before, since that takes minutes.
        precision: "int8" quantises weights and activations for a runtime; needs `calibration`.
        calibration: Some hundred images as the network takes them, for the ranges of int8. A
            fifth of them is held back and is the example where none is given.
        tolerance: Largest difference of a float32 logit, in standard deviations of the logits.
        min_agreement: Smallest share of images with the same top-1; None is 0.999, for int8 0.9.

    Raises:
        InvalidArgument: an argument is out of range, or does not fit the network.
        OptimizationError: a package is missing, or the backend cannot take this network.
        VerificationError: the result does not predict like the network.
    """
    quantized = precision == "int8"
    _check_arguments(precision, calibration)
    if backend not in ("auto", EAGER):
        find_backend(backend)
    if quantized and backend in (EAGER, "inductor"):
        raise InvalidArgument(
            f"precision='int8' with backend={backend!r}: use 'onnxruntime', 'openvino' or 'auto'"
        )
    if calibration is not None and example is None:
        calibration, images = hold_back(calibration)
    else:
        images = make_example(network) if example is None else example
    images = fit_images(network, images)
    if calibration is not None and calibration.shape[1:] != images.shape[1:]:
        raise InvalidArgument(
            f"calibration images are {tuple(calibration.shape[1:])}, the example's are "
            f"{tuple(images.shape[1:])}"
        )
    if min_agreement is None:
        min_agreement = INT8_MIN_AGREEMENT if quantized else MIN_AGREEMENT
    workshop = Workshop(
        network,
        images,
        calibration=calibration,
        tolerance=None if quantized else tolerance,
        min_agreement=min_agreement,
        cache_dir=Path(cache_dir) if cache_dir else None,
    )
    if backend != "auto":
        return workshop.make(backend)
    return workshop.make_fastest(images if example is not None else images[:1])


def _check_arguments(precision: str, calibration: Tensor | None) -> None:
    if precision not in ("float32", "int8"):
        raise InvalidArgument(f"precision={precision!r}: expected 'float32' or 'int8'")
    if (calibration is not None) != (precision == "int8"):
        raise InvalidArgument(
            "calibration images and precision='int8' belong together: give both or neither"
        )
    if calibration is not None:
        check_calibration(calibration)
