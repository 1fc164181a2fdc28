"""What it costs to find the weights of the terms, and what they then bring: blending next to a fixed grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from kd_bench.distill.blending_suite import AUTOMATIC, BLENDING, GRID, RIVALS
from kd_bench.distill.comparison import Comparison, comparisons
from kd_bench.distill.ledger import Record
from kd_bench.ledger.cells import gain_text
from kd_bench.ledger.gates import Aim
from kd_bench.ledger.intervals import Estimate
from kd_bench.tables import markdown_table
from kd_training.config.distill import BlendingMethod

MOST_COST, LEAST_BETTER = 0.1, 0.7
METHODS = (AUTOMATIC, *RIVALS)


@dataclass(frozen=True)
class Tuned:
    """The suite's runs under one protocol."""

    compared: Comparison

    @property
    def best(self) -> str:
        """The grid's arm with the highest mean mAP; an empty text while a weight has no run."""
        means = {name: self.compared.mean(name, "mAP") for name in GRID}
        known = {name: mean.mean for name, mean in means.items() if mean is not None}
        return max(known, key=lambda name: known[name]) if len(known) == len(means) else ""

    def gain(self, method: BlendingMethod, over: str = "") -> Estimate | None:
        """A method's mAP minus another arm's (the grid's best), seed by seed; None if no seed has both."""
        over = over or self.best
        return self.compared.gain(method.value, "mAP", over) if over else None

    def cost(self, method: BlendingMethod) -> float | None:
        """A method's tuning as a share of the grid's, over the seeds that have all of it; None without any.

        Tuning is the time beyond one plain run: the run that would do if the weights were known. Its time is the mean
        over the fixed weights, so that the grid's tuning is all of its runs but one.
        """
        taken = self.compared.by_seed(method.value, "comparable_seconds")
        grid = [self.compared.by_seed(name, "comparable_seconds") for name in GRID]
        shares = []
        for seed, seconds in taken.items():
            if all(seed in entry for entry in grid):
                whole = [entry[seed] for entry in grid]
                shares.append((seconds - fmean(whole)) / (sum(whole) - fmean(whole)))
        return fmean(shares) if shares else None


def tuned(records: Sequence[Record]) -> Tuned | None:
    """Of the protocol with most runs; None without any."""
    return next((Tuned(compared) for compared in comparisons(BLENDING, records)), None)


def tuning_table(compared: Comparison) -> str:
    """Methods next to the grid's best, as Markdown; an empty text where nothing can be compared yet."""
    rows = list(_rows(Tuned(compared)))
    names = ("method", "best of the grid", "mAP, difference to it", "tuning, share of the grid's")
    return "Tuning, as time beyond one run with known weights:\n\n" + markdown_table(names, rows) if rows else ""


def _rows(found: Tuned) -> Iterator[tuple[str, ...]]:
    for method in METHODS:
        gain, cost = found.gain(method), found.cost(method)
        if gain is not None:
            share = "" if cost is None else f"{100 * cost:.1f} %"
            yield method.value, found.best, gain_text(gain, "mAP"), share


def tuning_aims(records: Sequence[Record]) -> list[Aim]:
    """What is wanted of automatic blending."""
    found = tuned(records)
    return [_as_good(found), _cheap(found), _better(found)]


def _as_good(found: Tuned | None) -> Aim:
    """Open while it is below and the interval includes 0, as that of one seed does."""
    wish = f"{AUTOMATIC.value}: as good as the best of a fixed grid of {len(GRID)} weights"
    gain = None if found is None else found.gain(AUTOMATIC)
    if gain is None:
        return Aim(wish)
    return Aim(wish, f"{gain_text(gain, 'mAP')} mAP", gain.mean >= 0 if gain.mean >= 0 or gain.clear else None)


def _cheap(found: Tuned | None) -> Aim:
    wish = f"{AUTOMATIC.value}: tuning under {100 * MOST_COST:.0f} % of the grid's"
    cost = None if found is None else found.cost(AUTOMATIC)
    return Aim(wish) if cost is None else Aim(wish, f"{100 * cost:.1f} %", cost < MOST_COST)


def _better(found: Tuned | None) -> Aim:
    """Rivals and the grid's best."""
    wish = f"{AUTOMATIC.value}: above its rivals in over {100 * LEAST_BETTER:.0f} % of the comparisons"
    if found is None:
        return Aim(wish)
    others = [over for over in (*(rival.value for rival in RIVALS), found.best) if over]
    gains = [gain.mean for over in others if (gain := found.gain(AUTOMATIC, over)) is not None]
    if not gains:
        return Aim(wish)
    above = sum(gain > 0 for gain in gains)
    return Aim(wish, f"{above} of {len(gains)}", above > LEAST_BETTER * len(gains))
