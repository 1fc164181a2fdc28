"""A flame-like picture of a network: parts, stages and operators, as wide as their time; colour says how well."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from kd_bench.latency.limits import MachineLimits
from kd_bench.latency.stages import share_of_limit
from kd_bench.operators import Operator
from kd_perception.atomic import atomic_path

COLOURS = "RdYlGn"
LETTER_MS = 0.009  # of the whole width, that a letter takes


def draw_flames(networks: Sequence[tuple[str, Sequence[Operator]]], limits: MachineLimits, path: Path) -> None:
    """One strip a network, named; the file appears whole or not at all."""
    figure = Figure(figsize=(12, 2.4 * len(networks) + 0.4), layout="constrained")
    panels = figure.subplots(len(networks), 1, squeeze=False)[:, 0]
    for axes, (title, operators) in zip(panels, networks, strict=True):
        total = sum(operator.ms for operator in operators)
        levels = (lambda o: o.part, lambda o: o.stage, lambda o: o.name)
        for level, key in enumerate(levels):
            left = 0.0
            for name, group in groupby(operators, key):
                members = list(group)
                width = sum(operator.ms for operator in members)
                _block(axes, (left, 2 - level, width), share_of_limit(members, limits), _fitting(name, width / total))
                left += width
        axes.set(xlim=(0, total), ylim=(0, 3), yticks=[], xlabel="ms", title=title)
    colours = ScalarMappable(Normalize(0.0, 1.0), COLOURS)
    figure.colorbar(colours, ax=list(panels), label="share of the limit", fraction=0.02)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _block(axes: Axes, place: tuple[float, float, float], share: float, text: str) -> None:
    left, bottom, width = place
    colour = ScalarMappable(Normalize(0.0, 1.0), COLOURS).to_rgba(share)
    axes.bar(left, 0.95, width, bottom, align="edge", color=colour, edgecolor="white", linewidth=0.5)
    if text:
        axes.text(left + width / 2, bottom + 0.48, text, ha="center", va="center", fontsize=7)


def _fitting(name: str, share: float) -> str:
    """As much of a name as its block holds; nothing where that is next to nothing."""
    letters = int(share / LETTER_MS)
    short = name.strip("/").split("/")[-1] if len(name) > letters else name
    return short[:letters] if letters > 3 else ""
