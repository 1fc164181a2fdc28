"""Paired comparison: the same seed with and without, the mean of the differences and its 95 % interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# 97.5 % quantiles of Student's t distribution for 1, 2, 3 ... degrees of freedom; beyond, the last is a little wide.
T_QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A mean over `count` seeds and half the width of its 95 % interval, which is infinite with one seed."""

    mean: float
    half_width: float
    count: int

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return abs(self.mean) > self.half_width


def estimate(values: Mapping[int, float]) -> Estimate:
    """Mean and interval of one figure by seed; ValueError without any."""
    if not values:
        raise ValueError("no seeds to estimate from")
    count = len(values)
    mean = math.fsum(values.values()) / count
    if count == 1:
        return Estimate(mean, math.inf, 1)
    variance = math.fsum((value - mean) ** 2 for value in values.values()) / (count - 1)
    quantile = T_QUANTILES[min(count - 1, len(T_QUANTILES)) - 1]
    return Estimate(mean, quantile * math.sqrt(variance / count), count)


def paired(treated: Mapping[int, float], baseline: Mapping[int, float]) -> Estimate | None:
    """Difference, treated minus baseline, over the seeds that both have; None if there are none."""
    shared = {seed: treated[seed] - baseline[seed] for seed in treated if seed in baseline}
    return estimate(shared) if shared else None
