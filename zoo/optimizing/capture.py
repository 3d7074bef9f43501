"""A network as a graph of tensor operations, which every compiled backend starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import OptimizationError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

BATCH = "batch"
LAYOUT = torch.channels_last  # of the images that are captured, and for inductor of all others


def capture(network: nn.Module, example: Tensor, *, static_batch: bool = False) -> ExportedProgram:
    """Return the graph that `torch.export` finds: (images,) to logits.

    Height and width are those of the example. The batch size is free unless `static_batch`.

    Raises:
        OptimizationError: `torch.export` cannot follow the network.
    """
    shapes: Any = None
    if not static_batch:
        # torch.export takes a batch of one for a constant.
        example = torch.cat([example, example])[:2] if len(example) < 2 else example[:2]
        shapes = ({0: torch.export.Dim(BATCH)},)
    images = example.contiguous(memory_format=LAYOUT)
    try:
        program = torch.export.export(network, (images,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises whatever the network's own code raises
        raise OptimizationError(
            f"torch.export cannot capture this {type(network).__name__}: "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}. "
            "Use backend='eager', which needs no capture."
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where the source lies on this machine
    return program
