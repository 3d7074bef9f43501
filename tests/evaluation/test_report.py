"""The verdict on a measured accuracy."""

from __future__ import annotations

import pytest

from zoo.evaluation.measured import Measured
from zoo.evaluation.report import verdict
from zoo.records import Accuracy


def measured(top1: int, samples: int) -> Measured:
    return Measured(
        samples=samples,
        top1_count=top1,
        top5_count=None,
        class_samples=(samples,),
        class_top1_counts=(top1,),
        images_per_second=1.0,
    )


@pytest.mark.parametrize(
    ("reported", "result"), [(75.0, "agrees"), (75.3, "agrees"), (76.0, "lower"), (74.0, "higher")]
)
def test_interval_decides_without_a_tolerance(reported: float, result: str) -> None:
    # 37,500 of 50,000: the 95 % interval is 74.62 to 75.38
    found = verdict(measured(37_500, 50_000), reported)
    assert found.result == result
    assert found.agrees == (result == "agrees")


def test_tolerance_in_points_is_for_both_sides() -> None:
    reported = Accuracy(dataset="d", top1_percent=75.0, source="s")
    assert verdict(measured(74_90, 10_000), reported, tolerance_points=0.1).agrees
    assert verdict(measured(74_80, 10_000), reported, tolerance_points=0.1).result == "lower"
    assert verdict(measured(75_20, 10_000), reported, tolerance_points=0.1).result == "higher"


def test_text_says_everything() -> None:
    assert str(verdict(measured(7_400, 10_000), 75.0, 0.5)) == (
        "measured 74.00 % of 10000 images, reported 75.00 %, difference -1.00 points: "
        "lower (73.50 to 74.50 % agrees)"
    )
