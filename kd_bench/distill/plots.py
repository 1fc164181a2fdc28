"""The plot of a suite: its arms with their intervals."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from kd_bench.ledger.intervals import Estimate
from kd_perception.atomic import atomic_path

DPI = 90


def draw_gains(gains: Mapping[str, Estimate], path: Path) -> None:
    """Every arm's mAP minus the baseline's, times 100, with 95 % intervals (a hollow point: one seed, no interval)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.35 * len(gains)), layout="constrained")
    axes = figure.subplots()
    for row, gain in enumerate(gains.values()):
        alone = not isfinite(gain.half_width)
        axes.errorbar(
            100 * gain.mean, row, xerr=None if alone else 100 * gain.half_width, fmt="o", color="#1f77b4",
            mfc="white" if alone else None, capsize=3,
        )  # fmt: skip
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(gains)), [f"{label} ({gain.count})" for label, gain in gains.items()])
    axes.set_ylim(len(gains) - 0.5, -0.5)
    axes.set(xlabel="mAP x 100, difference to the baseline (seeds in brackets)")
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
