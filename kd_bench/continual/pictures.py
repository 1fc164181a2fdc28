"""The picture of continual learning: how accuracy goes on over domains, and the matrices of the arms."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from kd_bench.continual.comparison import Learned
from kd_perception.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 90
TITLE_WIDTH = 20  # characters, of a matrix's title
SHOWN = ("fine_tune", "replay", "ours", "ours_without_human_labels")  # whose matrices are drawn


def draw_learned(found: Sequence[Learned], path: Path) -> None:
    """A row for each sequence: mean accuracy on the domains so far, step by step, then matrices times 100."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 + 2.6 * len(SHOWN), 3.2 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), 1 + len(SHOWN), squeeze=False, width_ratios=[1.8, *(1.0 for _ in SHOWN)])
    for row, entry in zip(grid, found, strict=True):
        _curves(row[0], entry)
        arms = [arm for arm in SHOWN if arm in entry.arms]
        for axes, arm in zip(row[1:], arms, strict=False):
            _heatmap(axes, entry, arm)
        for axes in row[1 + len(arms) :]:
            axes.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def _curves(axes: "Axes", found: Learned) -> None:
    """Mean over the domains so far; where an arm has only its last student, a point."""
    steps = np.arange(len(found.sequence.domains))
    for arm in found.arms:
        matrix = found.mean_matrix(arm)
        means = [100 * matrix[i, : i + 1].mean() for i in steps]
        axes.plot(steps, means, marker="o", markersize=4, linewidth=1.2, label=arm)
    axes.set_xticks(steps, found.sequence.names, rotation=20)
    axes.set(title=found.sequence.title, ylabel="mean accuracy so far")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)


def _heatmap(axes: "Axes", found: Learned, arm: str) -> None:
    matrix, names = 100 * found.mean_matrix(arm), found.sequence.names
    axes.imshow(matrix, cmap="viridis", vmin=0.0, vmax=np.nanmax(matrix))
    for (i, j), value in np.ndenumerate(matrix):
        bright = value > 0.6 * np.nanmax(matrix)
        axes.text(j, i, f"{value:.1f}", ha="center", va="center", color="black" if bright else "white", fontsize=7)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=30, fontsize=6)
    axes.set_yticks(places, names, fontsize=6)
    axes.set_title(fill(arm.replace("_", " "), TITLE_WIDTH), fontsize=10)
