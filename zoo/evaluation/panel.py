"""Several networks that answer the same images, each in its own preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import DatasetError
from zoo.evaluation.answers import BEST, Answers, find_best
from zoo.evaluation.lanes import Map, open_lanes
from zoo.evaluation.memory import keeping_memory
from zoo.evaluation.processes import gather_numbers
from zoo.networks.network import Network
from zoo.preprocessing import Normalise, build_transform
from zoo.records import Preprocessing

# A network, and what it expects of an image; None when the data set gives its inputs.
Candidate = tuple[nn.Module, Preprocessing | None]

PIECE = 16  # images that one thread computes at once; fewer cost more, more only need more memory


class Panel:
    """Networks on a device: transformed images in, rows of answers out.

    A row is the class index that the data gives, then the five best classes of each network.
    Networks with equal preprocessing share the transformed image.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        classes: Sequence[int] | None,
        device: str | torch.device,
        channels_last: bool,
    ) -> None:
        self.device = torch.device(device)
        self.networks = [network.to(self.device) for network, _ in candidates]
        self.preprocessings = [preprocessing for _, preprocessing in candidates]
        self.distinct: list[Preprocessing | None] = []
        for preprocessing in self.preprocessings:
            if preprocessing not in self.distinct:
                self.distinct.append(preprocessing)
        self.normalise = [_unchanged if p is None else Normalise(p) for p in self.distinct]
        self.classes = classes
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.outputs = [0] * len(candidates)  # known once the networks have answered
        self.map: Map = map

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return 1 + BEST * len(self.networks)

    def describe(self) -> dict[str, Any]:
        """Return what decides the answers, beside the networks and the images."""
        return {
            "preprocessing": self.preprocessings,
            "classes": self.classes,
            "device": self.device.type,
        }

    def build_transforms(self) -> list[Callable[[Any], Tensor]]:
        """Return the transforms of an image, one for each distinct preprocessing."""
        return [
            _unchanged if p is None else build_transform(p, as_pixels=True) for p in self.distinct
        ]

    @contextmanager
    def evaluating(self, batch_size: int) -> Iterator[None]:
        """Get ready to answer batches of this size; afterwards give each module its mode back."""
        with ExitStack() as stack:
            stack.enter_context(keeping_memory(self.device))
            for network in self.networks:
                stack.enter_context(evaluation_mode(network))
            # A thread does not know of a context like autocast that its caller is in.
            here_only = self.device.type != "cpu" or torch.is_autocast_enabled("cpu")
            if not here_only and all(map(_is_divisible, self.networks)):
                self.map = stack.enter_context(open_lanes(batch_size // PIECE))
            yield

    def answer(self, images: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return the rows of a batch: (batch, width).

        Args:
            images: A batch for each of the transforms.

        Raises:
            DatasetError: a class index that a network has no output for, or that is not judged.
        """
        size = len(targets) if self.map is map else PIECE
        pieces = zip(targets.split(size), *(batch.split(size) for batch in images), strict=True)
        return torch.cat(list(self.map(self._answer_piece, pieces)))

    @torch.inference_mode()
    def _answer_piece(self, piece: tuple[Tensor, ...]) -> Tensor:
        targets, *images = piece
        inputs = [
            normalise(batch.to(self.device, non_blocking=True)).contiguous(
                memory_format=self.layout
            )
            for normalise, batch in zip(self.normalise, images, strict=True)
        ]
        judged = None if self.classes is None else torch.tensor(self.classes, device=self.device)
        columns = [targets.to(self.device, non_blocking=True)[:, None]]
        for position, network in enumerate(self.networks):
            logits = network(inputs[self.distinct.index(self.preprocessings[position])])
            self.outputs[position] = logits.shape[1]
            self._check_targets(targets, logits.shape[1])
            columns.append(find_best(logits, judged))
        return torch.cat(columns, dim=1).int()

    def read_answers(self, rows: Tensor, images_per_second: float) -> list[Answers]:
        """Return the answers of each network, from the rows of all images."""
        # A process without images has asked no network how many outputs it has.
        outputs = gather_numbers(*self.outputs).amax(dim=0).tolist()
        rows = rows.long()
        return [
            Answers(
                targets=rows[:, 0],
                predictions=best[:, : min(BEST, len(self.classes or range(num_classes)))],
                num_classes=num_classes,
                images_per_second=images_per_second,
            )
            for best, num_classes in zip(rows[:, 1:].split(BEST, dim=1), outputs, strict=True)
        ]

    def _check_targets(self, targets: Tensor, num_classes: int) -> None:
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= num_classes:
            raise DatasetError(
                f"class indices {low} to {high} in the data, but the network has outputs 0 to "
                f"{num_classes - 1}. Check the data's class folders."
            )
        if self.classes is not None and (others := set(targets.tolist()) - set(self.classes)):
            raise DatasetError(
                f"class index {min(others)} in the data is not among the {len(self.classes)} that "
                "are judged. Open the data with the class_names of the network."
            )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode; afterwards give each its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _is_divisible(network: nn.Module) -> bool:
    """Tell whether several threads may compute pieces of a batch with a network at once.

    The zoo's networks keep nothing of what they have seen; who knows what others do, or hooks.
    """
    return isinstance(network, Network) and not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def _unchanged(image: Tensor) -> Tensor:
    return image
