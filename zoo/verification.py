"""Prove that a loaded network computes what its record says, without a data set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import VerificationError
from zoo.records import Golden

_LOGITS_KEPT = 10


def make_probe(in_chans: int, size: int) -> Tensor:
    """Return two synthetic images, the same on every machine and version.

    Smooth waves of several directions and lengths, computed in float64 without
    random numbers; the second image is the first one mirrored and dimmed.

    Shapes:
        returns: (2, in_chans, size, size), float32, values within −2 … 2
    """
    steps = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    channels = [
        torch.sin(6.0 * (1 + c) * row + 1.7 * c) + torch.cos(9.0 * column * (1 + row) - 0.6 * c)
        for c in range(in_chans)
    ]
    image = torch.stack(channels)
    return torch.stack([image, 0.6 * image.flip(2)]).float()


def measure_golden(network: nn.Module, weights_sha256: str, *, in_chans: int, size: int) -> Golden:
    """Return the logits that this network gives for the probe, as a record."""
    logits = _probe_logits(network, in_chans, size)
    return Golden(
        weights_sha256=weights_sha256,
        logits=tuple(round(value, 6) for value in logits[0, :_LOGITS_KEPT].tolist()),
        std=round(logits.std().item(), 6),
    )


def check_golden(
    network: nn.Module, golden: Golden, *, in_chans: int, size: int, name: str
) -> float:
    """Return the largest deviation from the recorded logits, in units of their deviation.

    Raises:
        VerificationError: the deviation is larger than the record's tolerance.
    """
    logits = _probe_logits(network, in_chans, size)[0, : len(golden.logits)]
    expected = torch.tensor(golden.logits)
    deviation = ((logits - expected).abs().max() / golden.std).item()
    if not deviation <= golden.tolerance:
        raise VerificationError(
            f"{name}: the logits for the synthetic probe are off by {deviation:.2g} of their "
            f"standard deviation (tolerance {golden.tolerance:g}).\n"
            f"  expected {_rounded(golden.logits)}\n  got      {_rounded(logits.tolist())}\n"
            "  The weights or the network are not the verified ones. Fetch again with "
            f"`zoo fetch {name} --force`; if it repeats, report this output."
        )
    return deviation


@torch.inference_mode()
def _probe_logits(network: nn.Module, in_chans: int, size: int) -> Tensor:
    was_training = network.training
    network.eval()
    like = next(network.parameters())
    logits = network(make_probe(in_chans, size).to(like.device, like.dtype))
    network.train(was_training)
    return logits.float().cpu()


def _rounded(values: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values[:5]) + ", …"
