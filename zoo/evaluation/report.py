"""Compare a measured accuracy with the one that was reported."""

from __future__ import annotations

from typing import Literal

import msgspec

from zoo.evaluation.labels import VARIANTS
from zoo.evaluation.measured import Measured
from zoo.manifest import Entry
from zoo.records import Accuracy, Reproduction

ROUNDING_POINTS = 0.05  # papers and model cards often give one decimal


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a measurement confirms a report; differences are measured minus reported."""

    result: Literal["agrees", "lower", "higher"]
    measured_percent: float
    reported_percent: float
    allowed_percent: tuple[float, float]
    samples: int

    @property
    def agrees(self) -> bool:
        return self.result == "agrees"

    @property
    def difference_points(self) -> float:
        return self.measured_percent - self.reported_percent

    def __str__(self) -> str:
        low, high = self.allowed_percent
        return (
            f"measured {self.measured_percent:.2f} % of {self.samples} images, reported "
            f"{self.reported_percent:.2f} %, difference {self.difference_points:+.2f} points: "
            f"{self.result} ({low:.2f} to {high:.2f} % agrees)"
        )


def verdict(
    measured: Measured,
    reported: Accuracy | Reproduction | float,
    tolerance_points: float | None = None,
) -> Verdict:
    """Return whether the measured top-1 agrees with the reported one.

    Without a tolerance they agree when the reported value is inside the 95 %
    interval of the measurement. The interval is that of other images; on the
    very same images two measurements should differ far less, so give a
    tolerance there.

    Args:
        reported: A record, or a top-1 percent.
        tolerance_points: Largest difference in percentage points, either way.
    """
    percent = reported if isinstance(reported, (int, float)) else reported.top1_percent
    if tolerance_points is None:
        low, high = measured.top1_interval_percent
        low, high = low - ROUNDING_POINTS, high + ROUNDING_POINTS
    else:
        low = measured.top1_percent - tolerance_points
        high = measured.top1_percent + tolerance_points
    result = "agrees" if low <= percent <= high else "lower" if percent > high else "higher"
    return Verdict(
        result=result,
        measured_percent=measured.top1_percent,
        reported_percent=float(percent),
        allowed_percent=(low, high),
        samples=measured.samples,
    )


def find_expected(
    entry: Entry, samples: int, variant: str | None = None
) -> Accuracy | Reproduction | None:
    """Return what to compare with: our own figure on as many images, else the reported one.

    Args:
        variant: Name of a variant of the data set; only figures on it are compared with.
    """

    def fits(row: Accuracy | Reproduction) -> bool:
        found = next((v for v in VARIANTS.values() if row.dataset.startswith(v)), None)
        return found == variant

    reproduced = [r for weights in entry.weights for r in weights.reproduced if fits(r)]
    reported = [r for weights in entry.weights for r in weights.reported if fits(r)]
    same_size = [r for r in reproduced if r.samples == samples]
    of_model = filter(fits, entry.record.reported)
    return next(iter([*same_size, *reported, *of_model, *reproduced]), None)
