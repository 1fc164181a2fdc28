"""The convergence suite: an arm's mAP after each part of the steps, and when it reaches the baseline's end."""

from collections.abc import Sequence

from kd_bench.distill.arms import BASELINE
from kd_bench.distill.cells import gain_text, mean_text
from kd_bench.distill.comparison import Comparison, steps_to
from kd_bench.distill.distillbev_paper import CONVERGENCE_SHARE
from kd_bench.distill.intervals import estimate, paired
from kd_bench.tables import markdown_table

Curves = dict[int, dict[int, float]]  # mAP by seed and step


def convergence_table(compared: Comparison, labels: Sequence[str], first: float) -> str:
    """Learning curves over the seeds that are scored at every step: the baseline's, and differences of other arms.

    `first` is the mAP that all start from.
    """
    base = compared.curves(BASELINE)
    if not base:
        return ""
    steps = list(next(iter(base.values())))
    rows = []
    for label in labels:
        curves = base if label == BASELINE else compared.curves(label)
        cells = [_cell(curves, None if label == BASELINE else base, step) for step in steps]
        rows.append((label, str(len(curves)), *cells, _share(curves, base, first)))
    names = ("arm", "seeds", *(f"mAP after {step}" for step in steps), "share of the steps to the baseline's end")
    note = (
        "The share of the steps after which an arm reaches the final mAP of the same seed's baseline, on straight "
        "lines between scored steps. The learning rate falls towards the last step for all. Published: "
        f"{100 * CONVERGENCE_SHARE:.0f} % of the epochs."
    )
    return f"{markdown_table(names, rows)}\n\n{note}"


def _cell(curves: Curves, base: Curves | None, step: int) -> str:
    """mAP after a step: the baseline's own mean where `base` is None, otherwise the difference to it."""
    after = {seed: curve[step] for seed, curve in curves.items()}
    if base is None:
        return mean_text(estimate(after), "mAP")
    gain = paired(after, {seed: curve[step] for seed, curve in base.items()})
    return "" if gain is None else gain_text(gain, "mAP")


def _share(curves: Curves, base: Curves, first: float) -> str:
    """Mean and interval over the seeds; if a seed never reaches the baseline's end, the number of those that do."""
    shares = {}
    shared = [seed for seed in curves if seed in base]
    for seed in shared:
        last = max(base[seed])
        reached = steps_to(curves[seed], first, base[seed][last])
        if reached is not None:
            shares[seed] = reached / last
    if not shared or len(shares) < len(shared):
        return f"reached by {len(shares)} of {len(shared)} seeds"
    found = estimate(shares)
    spread = "" if found.count == 1 else f" ± {100 * found.half_width:.0f}"
    return f"{100 * found.mean:.0f}{spread} %"
