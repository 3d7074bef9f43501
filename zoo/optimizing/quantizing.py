"""Eight-bit integers after training: ranges of activations from calibration images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import InvalidArgument
from zoo.optimizing.onnx_graph import INPUT

QUANTIZING = ("onnx", "onnxscript", "onnxruntime")
INT8_MIN_AGREEMENT = 0.9  # small mobile networks reach 0.94
FEWEST_IMAGES = 10
BATCH_SIZE = 16


def quantize_onnx(source: Path, target: Path, calibration: Tensor) -> None:
    """Write the int8 form of an ONNX file: static ranges, weights by output channel.

    Ranges are the smallest and largest values that the calibration images give. Seven bits for
    weights, which ONNX Runtime advises for x86 processors without VNNI, cost a small network a
    quarter of its top-1 agreement; on such a processor the proof says what eight bits cost.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(calibration.split(BATCH_SIZE))

        def get_next(self) -> Any:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch.contiguous().numpy()}

    prepared = target.with_name(f"{target.name}-prepared")
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Images(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


def hold_back(calibration: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images to calibrate with, and every fifth, to prove the result with."""
    numbers = torch.arange(len(calibration))
    return calibration[numbers % 5 != 4], calibration[numbers % 5 == 4]


def check_calibration(calibration: Tensor) -> None:
    """Raise where there are too few images to say anything.

    Raises:
        InvalidArgument: see above.
    """
    if calibration.ndim != 4 or len(calibration) < FEWEST_IMAGES:
        raise InvalidArgument(
            f"calibration: expected at least {FEWEST_IMAGES} images as (images, channels, height, "
            f"width), better some hundred; got {tuple(calibration.shape)}"
        )
