"""ONNX: written by torch's exporter, run by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import OptimizationError
from zoo.optimizing.capture import BATCH
from zoo.optimizing.extras import check_installed
from zoo.optimizing.proof import Runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram

WRITING = ("onnx", "onnxscript")
INPUT, OUTPUT = "images", "logits"


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a captured network as one ONNX file, weights inside.

    Raises:
        OptimizationError: a package is missing, or the exporter cannot translate the network.
    """
    check_installed("writing ONNX", WRITING)
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    try:
        with _quiet():
            translated = torch.onnx.export(
                program,
                (),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: BATCH},) if program.range_constraints else None,
                verbose=False,
            )
            assert translated is not None
            # Each node would tell where the source lies on this machine.
            ClearMetadataAndDocStringPass()(translated.model)
            translated.save(path)
    except torch.onnx.errors.OnnxExporterError as error:
        raise OptimizationError(
            f"torch.onnx cannot translate this network: {str(error).strip().splitlines()[0]}"
        ) from error


def open_onnxruntime(path: Path) -> Runner:
    """Return ONNX Runtime's run of an ONNX file, on as many threads as torch uses now.

    Raises:
        OptimizationError: the package is missing, or cannot open the file.
    """
    check_installed("backend 'onnxruntime'", ["onnxruntime"])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with _failures_of("ONNX Runtime"):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {INPUT: images.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run


def open_openvino(path: Path) -> Runner:
    """Return OpenVINO's run of an ONNX or OpenVINO file, on as many threads as torch uses now.

    Raises:
        OptimizationError: the package is missing, or cannot open the file.
    """
    check_installed("backend 'openvino'", ["openvino"])
    import openvino  # pyright: ignore[reportMissingImports]

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # Some processors would otherwise compute in bfloat16.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    with _failures_of("OpenVINO"):
        compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(images: Tensor) -> Tensor:
        # Results are views of memory that the next call overwrites.
        return torch.from_numpy(compiled(images.contiguous().numpy())[0].copy())

    return run


@contextmanager
def _failures_of(runtime: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each runtime has exceptions of its own
        raise OptimizationError(
            f"{runtime} cannot open this network: {str(error).strip().splitlines()[0]}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter warns of its own deprecations and of opset versions; none concerns the user.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
