"""PyTorch's own compiler: C++ made from the graph, weights frozen into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from zoo.errors import OptimizationError
from zoo.optimizing.capture import LAYOUT
from zoo.optimizing.proof import Runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def write_inductor(program: ExportedProgram, path: Path) -> None:
    """Compile a captured network for this machine into one package; takes minutes.

    Freezing lets the compiler reorder weights once instead of at each call.

    Raises:
        OptimizationError: this torch has no AOTInductor, or there is no C++ compiler.
    """
    import torch._inductor

    if not hasattr(torch._inductor, "aoti_compile_and_package"):
        raise OptimizationError(
            f"backend 'inductor' needs torch 2.6 or later, this is {torch.__version__}"
        )
    try:
        # The compiler insists on this suffix.
        package = path.with_name(f"{path.name}.pt2")
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(package), inductor_configs={"freezing": True}
        )
        package.rename(path)
    except Exception as error:  # from a missing g++ to an operator without a kernel
        raise OptimizationError(
            f"inductor cannot compile this network: {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}. It needs a C++ compiler such as g++; "
            "the backends 'onnxruntime' and 'openvino' need none."
        ) from error


def open_inductor(path: Path) -> Runner:
    """Return the run of a compiled package."""
    import torch._inductor

    with open(path, "rb") as file:
        compiled = torch._inductor.aoti_load_package(file)

    def run(images: Tensor) -> Tensor:
        # The layout of the captured example: the package computes addresses without looking.
        return compiled(images.contiguous(memory_format=LAYOUT))

    return run
