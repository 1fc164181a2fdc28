"""The blending suite: what the search over fixed weights costs, and what rescaling the losses does."""

from collections.abc import Sequence
from math import fsum

from kd_bench.distill.arms import BASELINE, DISTILL, GRID, RESCALED, label_of, scaled_name
from kd_bench.distill.comparison import Comparison
from kd_bench.distill.ledger import Record
from kd_bench.tables import markdown_table


def blending_parts(compared: Comparison) -> list[str]:
    """Paragraphs and tables, without those whose runs are missing."""
    points = compared.tuning([arm.label for arm in GRID.points])
    return [part for part in (_cost(compared, points), _flatness(compared)) if part]


def _cost(compared: Comparison, points: Sequence[Record]) -> str:
    """Time beyond one plain run."""
    seconds = {label: compared.by_seed(label, "seconds") for label in (BASELINE, DISTILL.label)}
    if not all(seconds.values()) or len(points) < len(GRID.points):
        return ""
    plain, blended = (fsum(values.values()) / len(values) for values in seconds.values())
    search = fsum(record.seconds for record in points)
    return (
        f"One plain run takes {plain:.0f} s, one with automatic blending {blended - plain:.0f} s more, "
        f"teacher included. The search over {len(points)} fixed weights ({GRID.name}) took {search:.0f} s before "
        "its first reported run."
    )


def _flatness(compared: Comparison) -> str:
    """The effect of multiplying every distillation loss by a number, with automatic blending and with fixed weights."""
    rows = []
    low, high = RESCALED
    for name, middle in (("agb", DISTILL.name), ("fixed", "fixed")):
        arms = [scaled_name(name, low), middle, scaled_name(name, high)]
        found = [compared.by_seed(label_of(arm, DISTILL.teacher), "mAP") for arm in arms]
        rows.append((name, *(f"{100 * fsum(seeds.values()) / len(seeds):.1f}" if seeds else "" for seeds in found)))
    if not any(row[1] or row[3] for row in rows):
        return ""
    names = [f"losses x {RESCALED[0]:g}", "x 1", f"x {RESCALED[1]:g}"]
    return "Every distillation loss times a number, mean mAP:\n\n" + markdown_table(("weights by", *names), rows)
