"""Counts are exact for every batch size, number of workers and processes (fault 63)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.digits import PREPROCESSING, build_network
from tests.two_processes import run_two_processes
from zoo.errors import DatasetError, InvalidArgument, VerificationError
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.measured import Measured, wilson_interval_percent
from zoo.preprocessing import build_transform


class Linear(nn.Module):
    """Logits that are a fixed function of the mean of each channel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, classes, generator=torch.manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) @ self.weight


def tensors(samples: int, classes: int) -> TensorDataset:
    random = torch.Generator().manual_seed(samples)
    images = torch.randn(samples, 3, 4, 4, generator=random)
    return TensorDataset(images, torch.randint(classes, (samples,), generator=random))


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_counts_are_those_of_a_plain_loop(digits: Path, batch_size: int) -> None:
    dataset, network = open_dataset(digits).select(range(0, 123, 3)), build_network().eval()
    transform = build_transform(PREPROCESSING)
    images = torch.stack([transform(image) for image, _ in dataset])  # type: ignore[misc]
    targets = torch.tensor(dataset.find_targets())
    with torch.inference_mode():
        order = network(images).argsort(dim=1, descending=True)
    right = order[:, 0] == targets
    measured = evaluate(
        network, dataset, preprocessing=PREPROCESSING, batch_size=batch_size, workers=0
    )
    assert measured.samples == 41
    assert measured.top1_count == int(right.sum())
    assert measured.top5_count == int((order[:, :5] == targets[:, None]).sum())
    assert measured.class_samples == tuple(torch.bincount(targets, minlength=10).tolist())
    assert measured.class_top1_counts == tuple(
        torch.bincount(targets[right], minlength=10).tolist()
    )
    assert measured.images_per_second > 0


def test_derived_percents() -> None:
    measured = Measured(
        samples=4,
        top1_count=1,
        top5_count=3,
        class_samples=(3, 1, 0),
        class_top1_counts=(1, 0, 0),
        images_per_second=1.0,
    )
    assert (measured.top1_percent, measured.top5_percent) == (25.0, 75.0)
    assert measured.class_top1_percents == (pytest.approx(100 / 3), 0.0, None)


@pytest.mark.parametrize(("successes", "samples"), [(0, 10), (10, 10), (7301, 10_000), (1, 3)])
def test_interval_is_wilsons(successes: int, samples: int) -> None:
    expected = binomtest(successes, samples).proportion_ci(method="wilson")
    assert wilson_interval_percent(successes, samples) == pytest.approx(
        (100 * expected.low, 100 * expected.high), abs=1e-9
    )


def test_no_top5_below_five_classes() -> None:
    measured = evaluate(Linear(4), tensors(9, 4), workers=0)
    assert measured.top5_count is None and measured.top5_percent is None
    assert evaluate(Linear(5), tensors(9, 5), workers=0).top5_count == 9


def test_training_modes_come_back_even_after_an_error() -> None:
    network = nn.Sequential(nn.Dropout(0.5), Linear(3), nn.BatchNorm1d(3))
    network.train()
    network[2].eval()
    statistics = network[2].running_mean.clone()  # type: ignore[operator]
    evaluate(network, tensors(5, 3), workers=0)
    with pytest.raises(DatasetError):
        evaluate(network, tensors(50, 5), workers=0)
    assert [module.training for module in network] == [True, True, False]
    assert torch.equal(network[2].running_mean, statistics)  # type: ignore[arg-type]


def test_nan_is_an_error_not_a_wrong_answer() -> None:
    network = Linear(3)
    with torch.no_grad():
        network.weight[0, 0] = float("nan")
    with pytest.raises(VerificationError, match="NaN or infinity for 5 of 5 images"):
        evaluate(network, tensors(5, 3), workers=0)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"class indices 0 to 4 .* outputs 0 to 2"):
        evaluate(Linear(3), tensors(50, 5), workers=0)
    with pytest.raises(DatasetError, match="no images"):
        evaluate(Linear(3), tensors(0, 3), workers=0)
    with pytest.raises(InvalidArgument, match="batch_size: expected at least 1, got 0"):
        evaluate(Linear(3), tensors(5, 3), batch_size=0)


def test_progress_counts_images() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(
        Linear(3), tensors(10, 3), batch_size=4, workers=0, progress=lambda *at: seen.append(at)
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


SIZES = (1, 2, 7, 33, 64)

PROCESS = f"""
import json, os, sys
from tests.evaluation.test_accuracy import Linear, tensors
from tests.evaluation.test_streams import Counting
from zoo.errors import DatasetError
from zoo.evaluation.accuracy import evaluate
import msgspec
found = [evaluate(Linear(6), tensors(size, 6), batch_size=8, workers=0) for size in {SIZES}]
try:
    evaluate(Linear(6), Counting())
except DatasetError as error:
    assert "cannot be shared exactly by 2 processes" in str(error)
else:
    raise AssertionError("streams are for one process")
with open(os.path.join(sys.argv[1], os.environ["RANK"]), "w") as file:
    json.dump(msgspec.to_builtins(found), file)
"""


def test_two_processes_count_exactly_what_one_counts(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESS)
    run_two_processes(str(script), str(tmp_path))
    for size, *both in zip(
        SIZES, *(json.loads((tmp_path / rank).read_text()) for rank in "01"), strict=True
    ):
        alone = evaluate(Linear(6), tensors(size, 6), batch_size=8, workers=0)
        for found in both:
            found["images_per_second"] = alone.images_per_second
            assert found == {
                field: list(value) if isinstance(value := getattr(alone, field), tuple) else value
                for field in Measured.__struct_fields__
            }
