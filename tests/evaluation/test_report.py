"""The verdict on a measured accuracy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from zoo.evaluation.measured import Measured
from zoo.evaluation.report import find_expected, verdict
from zoo.manifest import Entry, find_entry
from zoo.records import Accuracy, Reproduction, Weights


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


def test_what_is_compared_with() -> None:
    """Our own figure on as many images, else the reported one; never one on other images."""
    weights = Weights(
        sources=("file://x",),
        format="native",
        reported=(accuracy("imagenet-1k/val", 70), accuracy("imagenet-a/test", 5)),
        reproduced=(reproduction("imagenet-1k sample", 54, 1000),),
    )
    record = find_entry("proxyless-w0.3").record
    changes = {"weights": (weights,), "reported": (accuracy("imagenetv2/top-images", 60),)}
    entry = Entry("mine", msgspec.structs.replace(record, **changes), Path())
    found = {
        (samples, variant): getattr(find_expected(entry, samples, variant), "top1_percent", None)
        for samples in (1000, 50_000)
        for variant in (None, "imagenet-a", "imagenetv2", "imagenet-r")
    }
    assert found[1000, None] == 54 and found[50_000, None] == 70
    assert found[1000, "imagenet-a"] == found[50_000, "imagenet-a"] == 5
    assert found[1000, "imagenetv2"] == 60 and found[1000, "imagenet-r"] is None


def accuracy(dataset: str, top1: float) -> Accuracy:
    return Accuracy(dataset=dataset, top1_percent=top1, source="s")


def reproduction(dataset: str, top1: float, samples: int) -> Reproduction:
    return Reproduction(
        dataset=dataset, top1_percent=top1, samples=samples, date="2026-01-01", command="c"
    )
