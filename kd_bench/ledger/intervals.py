"""Paired comparison: the same seed with and without, the mean of the differences and its 95 % interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student_t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `count` seeds and half the width of its 95 % interval, which is infinite with one seed."""

    mean: float
    half_width: float
    count: int

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half_width

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return abs(self.mean) > self.half_width


def seeds_text(count: int) -> str:
    """1 seed, 3 seeds."""
    return f"{count} seed{'s' if count > 1 else ''}"


def estimate(values: Mapping[int, float]) -> Estimate:
    """Mean and interval of one figure by seed; ValueError without any."""
    if not values:
        raise ValueError("no seeds to estimate from")
    count, mean = len(values), fmean(values.values())
    if count == 1:
        return Estimate(mean, math.inf, 1)
    quantile = student_t.ppf((1.0 + CONFIDENCE) / 2.0, count - 1)
    return Estimate(mean, float(quantile) * stdev(values.values(), mean) / math.sqrt(count), count)


def paired(treated: Mapping[int, float], baseline: Mapping[int, float]) -> Estimate | None:
    """Difference, treated minus baseline, over the seeds that both have; None if there are none."""
    shared = {seed: treated[seed] - baseline[seed] for seed in treated if seed in baseline}
    return estimate(shared) if shared else None
