"""What a network said about each image, and the counts that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from zoo.errors import DatasetError, VerificationError
from zoo.evaluation.measured import Measured

BEST = 5  # answers kept for each image
NO_CLASS = -1  # stands where a network has no answer: its logits are not finite


class Answers(NamedTuple):
    """The best classes of each image, in the order of the data.

    Shapes:
        targets: (images,), the class indices that the data gives
        predictions: (images, 5), best first; fewer where fewer classes are judged
    """

    targets: Tensor
    predictions: Tensor
    num_classes: int
    images_per_second: float


def find_best(logits: Tensor, classes: Tensor | None = None) -> Tensor:
    """Return the indices of the five best classes, best first: (images, 5), `NO_CLASS` where none.

    Args:
        classes: The only classes that may be answered; None for all.
    """
    scores = logits if classes is None else logits[:, classes]
    best = scores.topk(min(BEST, scores.shape[1])).indices
    if classes is not None:
        best = classes[best]
    best = best.masked_fill(~logits.isfinite().all(dim=1, keepdim=True), NO_CLASS)
    return functional.pad(best, (0, BEST - best.shape[1]), value=NO_CLASS)


def measure(answers: Answers, accepted: Sequence[Collection[int]] | None = None) -> Measured:
    """Return the counts of right answers.

    Args:
        accepted: For each image the classes that are right, instead of the one the data
            gives; an image without any is left out.

    Raises:
        VerificationError: the network gave NaN or infinity.
        DatasetError: no image is left.
    """
    targets, predictions, num_classes, images_per_second = answers
    broken = int((predictions[:, 0] == NO_CLASS).sum())
    if broken:
        raise VerificationError(
            f"the network gave NaN or infinity for {broken} of {len(targets)} images; "
            "check the weights with `zoo verify`"
        )
    if accepted is None:
        hits = predictions == targets[:, None]
    else:
        assert len(accepted) == len(targets), (len(accepted), len(targets))
        judged = torch.tensor([bool(right) for right in accepted])
        rows = zip(predictions.tolist(), accepted, strict=True)
        hits = torch.tensor([[guess in right for guess in row] for row, right in rows])[judged]
        targets = targets[judged]
    if not len(targets):
        raise DatasetError("none of the images has a label to be judged by")
    right = hits[:, 0]
    return Measured(
        samples=len(targets),
        top1_count=int(right.sum()),
        top5_count=int(hits.any(dim=1).sum()) if predictions.shape[1] == BEST else None,
        class_samples=tuple(targets.bincount(minlength=num_classes).tolist()),
        class_top1_counts=tuple(targets[right].bincount(minlength=num_classes).tolist()),
        images_per_second=images_per_second,
    )


def count_confusion(answers: Answers) -> Counter[tuple[int, int]]:
    """Return how often images of one class were taken for another: {(true, predicted): images}."""
    return Counter(zip(answers.targets.tolist(), answers.predictions[:, 0].tolist(), strict=True))
