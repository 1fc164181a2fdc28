"""Plots of the report: arms with their intervals, and learning curves."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from kd_bench.distill.intervals import Estimate
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


def draw_curves(curves: Mapping[str, Mapping[int, Mapping[int, float]]], first: float, path: Path) -> None:
    """mAP by step of every arm, from that of the common start: each seed thin, their mean thick."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for index, (label, seeds) in enumerate(curves.items()):
        lines = [{0: first} | dict(curve) for curve in seeds.values()]
        if not lines:
            continue
        steps = list(lines[0])
        heights = [[100 * line[step] for step in steps] for line in lines]
        for height in heights:
            axes.plot(steps, height, color=f"C{index}", alpha=0.35, linewidth=0.8)
        mean = [sum(values) / len(values) for values in zip(*heights, strict=True)]
        axes.plot(steps, mean, "o-", color=f"C{index}", label=f"{label} ({len(lines)} seeds)")
    axes.set(xlabel="steps", ylabel="mAP x 100")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
