"""`Measured`: the counts of an evaluation, and the percents and intervals they imply."""

from __future__ import annotations

import msgspec

Z_95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one evaluation; percents are derived from them.

    `class_samples` and `class_top1_counts` have one number per network output.
    `top5_count` is None for networks with fewer than five classes.
    """

    samples: int
    top1_count: int
    top5_count: int | None
    class_samples: tuple[int, ...]
    class_top1_counts: tuple[int, ...]
    images_per_second: float

    @property
    def top1_percent(self) -> float:
        return 100 * self.top1_count / self.samples

    @property
    def top5_percent(self) -> float | None:
        return None if self.top5_count is None else 100 * self.top5_count / self.samples

    @property
    def class_top1_percents(self) -> tuple[float | None, ...]:
        """Top-1 percent of each class; None for a class without images."""
        pairs = zip(self.class_top1_counts, self.class_samples, strict=True)
        return tuple(100 * right / total if total else None for right, total in pairs)

    @property
    def top1_interval_percent(self) -> tuple[float, float]:
        """The 95 % interval of top-1 for other samples of the same size (Wilson score)."""
        return wilson_interval_percent(self.top1_count, self.samples)


def wilson_interval_percent(successes: int, samples: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion, in percent.

    Source: Wilson 1927, https://doi.org/10.2307/2276774.
    """
    share, z2 = successes / samples, Z_95**2
    centre = (share + z2 / (2 * samples)) / (1 + z2 / samples)
    spread = (share * (1 - share) / samples + z2 / (4 * samples**2)) ** 0.5
    half = Z_95 * spread / (1 + z2 / samples)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
