"""How much of what high resolution is worth another arm of the suite `scale` recovers, with its interval.

share = (arm - baseline) / (high resolution - baseline), each a mean over seeds. Its interval is the middle 95 % of a
paired bootstrap: seeds are drawn with replacement, and every arm is seen with the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_bench.distill.comparison import Comparison, comparisons
from kd_bench.distill.ledger import Record
from kd_bench.distill.scale_arms import CROSS, HIGH, SCALE
from kd_bench.ledger.cells import gain_text
from kd_bench.ledger.gates import Aim
from kd_bench.ledger.intervals import CONFIDENCE, Estimate, seeds_text
from kd_bench.tables import markdown_table

LEAST_GAP = 0.03  # mAP; what is less cannot be shared out
DRAWS = 10_000
WANTED = {"mAP": 0.5, "NDS": 0.6}


@dataclass(frozen=True)
class Share:
    """A share of the gap over `count` seeds, and the ends of its interval."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.0f} % [{100 * self.low:.0f}, {100 * self.high:.0f}] ({seeds_text(self.count)})"


def gap(compared: Comparison, figure: str) -> Estimate | None:
    """What high resolution is worth; None without a pair."""
    return compared.gain(HIGH.name, figure)


def is_worth_sharing(compared: Comparison, figure: str) -> bool:
    """Whether the gap is clear of noise, and at least 3 mAP wide."""
    found, width = gap(compared, figure), gap(compared, "mAP")
    return found is not None and found.clear and found.mean > 0 and width.mean >= LEAST_GAP


def share_of_gap(compared: Comparison, label: str, figure: str) -> Share | None:
    """An arm's share; None where the gap is too small, or no seed has all three arms."""
    arms = [compared.by_seed(name, figure) for name in (compared.suite.baseline, label, HIGH.name)]
    seeds = sorted(set.intersection(*(set(values) for values in arms)))
    if not seeds or not is_worth_sharing(compared, figure):
        return None
    base, own, most = (np.array([values[seed] for seed in seeds]) for values in arms)
    drawn = np.random.default_rng(0).integers(len(seeds), size=(DRAWS, len(seeds)))
    gains, widths = (own - base)[drawn].mean(axis=1), (most - base)[drawn].mean(axis=1)
    shares = np.divide(gains, widths, out=np.full(DRAWS, np.inf), where=widths > 0)
    low, high = np.quantile(shares, [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0])
    return Share(float((own - base).mean() / (most - base).mean()), float(low), float(high), len(seeds))


def gap_table(compared: Comparison) -> str:
    """Every arm's share of the gap in mAP and NDS, as Markdown; or a sentence that says why there is none."""
    if not is_worth_sharing(compared, "mAP"):
        return f"Share of the gap: not told, as high resolution is worth {_worth(compared)} mAP."
    labels = [label for label in compared.labels if label not in (compared.suite.baseline, HIGH.name)]
    rows = [(label, *(_cell(compared, label, figure) for figure in WANTED)) for label in labels]
    return "Share of the gap that is recovered:\n\n" + markdown_table(("arm", *WANTED), rows)


def _cell(compared: Comparison, label: str, figure: str) -> str:
    share = share_of_gap(compared, label, figure)
    return "-" if share is None else str(share)


def _worth(compared: Comparison) -> str:
    found = gap(compared, "mAP")
    return "no known number of" if found is None else gain_text(found, "mAP")


def scale_aims(records: Sequence[Record]) -> list[Aim]:
    """What is wanted of cross-scale distillation; open where the gap is too small to share out."""
    compared = next(iter(comparisons(SCALE, records)), None)
    width = None if compared is None else gap(compared, "mAP")
    wide = f"high resolution is worth at least {100 * LEAST_GAP:g} mAP"
    aims = [Aim(wide) if width is None else Aim(wide, _worth(compared), is_worth_sharing(compared, "mAP"))]
    for figure, least in WANTED.items():
        wish = f"{CROSS.name} recovers at least {100 * least:.0f} % of the gap in {figure}"
        share = None if compared is None else share_of_gap(compared, CROSS.name, figure)
        aims.append(Aim(wish) if share is None else Aim(wish, str(share), share.mean >= least))
    return aims
