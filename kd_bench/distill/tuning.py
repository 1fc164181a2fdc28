"""What it costs to find the weights of a set of terms, and what they then bring: blending next to a fixed grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from kd_bench.distill.blending_suites import AUTOMATIC, BLENDINGS, RIVALS, TERM_SETS, arm_name, grid_names
from kd_bench.distill.comparison import Comparison, comparisons
from kd_bench.distill.ledger import Record
from kd_bench.ledger.cells import gain_text
from kd_bench.ledger.gates import Aim
from kd_bench.ledger.intervals import Estimate, estimate
from kd_bench.tables import markdown_table
from kd_training.config.distill import BlendingMethod

MOST_COST, LEAST_BETTER = 0.1, 0.7
METHODS = (AUTOMATIC, *RIVALS)


@dataclass(frozen=True)
class Tuned:
    """One set of terms of one student."""

    compared: Comparison
    terms: str

    @property
    def best(self) -> str:
        """The grid's arm with the highest mean mAP; an empty text while a weight has no run."""
        means = {name: self.compared.mean(name, "mAP") for name in grid_names(self.terms)}
        known = {name: mean.mean for name, mean in means.items() if mean is not None}
        return max(known, key=lambda name: known[name]) if len(known) == len(means) else ""

    def gain(self, method: BlendingMethod, over: str = "") -> Estimate | None:
        """A method's mAP minus another arm's (the grid's best), seed by seed; None if no seed has both."""
        over = over or self.best
        return self.compared.gain(arm_name(self.terms, method), "mAP", over) if over else None

    def cost(self, method: BlendingMethod) -> float | None:
        """A method's tuning as a share of the grid's, over the seeds that have all of it; None without any.

        Tuning is the time beyond one plain run: the run that would do if the weights were known. Its time is the mean
        over the fixed weights, so that the grid's tuning is all of its runs but one.
        """
        taken = self.compared.by_seed(arm_name(self.terms, method), "seconds")
        grid = [self.compared.by_seed(name, "seconds") for name in grid_names(self.terms)]
        shares = []
        for seed, seconds in taken.items():
            if all(seed in entry for entry in grid):
                whole = [entry[seed] for entry in grid]
                shares.append((seconds - fmean(whole)) / (sum(whole) - fmean(whole)))
        return fmean(shares) if shares else None


def tuned_sets(records: Sequence[Record]) -> list[Tuned]:
    """Every set of every student that has runs, of the protocol with most of them."""
    largest = [compared for suite in BLENDINGS for compared in comparisons(suite, records)[:1]]
    return [Tuned(compared, terms) for compared in largest for terms in TERM_SETS]


def tuning_table(compared: Comparison) -> str:
    """Methods next to the grid's best, as Markdown; an empty text where nothing can be compared yet."""
    rows = [row for terms in TERM_SETS for row in _rows(Tuned(compared, terms))]
    names = ("terms", "method", "best of the grid", "mAP, difference to it", "tuning, share of the grid's")
    return "Tuning, as time beyond one run with known weights:\n\n" + markdown_table(names, rows) if rows else ""


def _rows(tuned: Tuned) -> Iterator[tuple[str, ...]]:
    for method in METHODS:
        gain, cost = tuned.gain(method), tuned.cost(method)
        if gain is not None:
            share = "" if cost is None else f"{100 * cost:.1f} %"
            yield tuned.terms, method.value, tuned.best, gain_text(gain, "mAP"), share


def tuning_aims(records: Sequence[Record]) -> list[Aim]:
    """What is wanted of automatic blending."""
    sets = tuned_sets(records)
    return [_as_good(sets), _cheap(sets), _better(sets)]


def _as_good(sets: Sequence[Tuned]) -> Aim:
    """Open while it is below and the interval includes 0."""
    wish = f"{AUTOMATIC.value}: as good as the best of a fixed grid of {len(grid_names(''))} weights"
    gains = [gain.mean for tuned in sets if (gain := tuned.gain(AUTOMATIC)) is not None]
    if not gains:
        return Aim(wish)
    over = estimate(dict(enumerate(gains)))
    figures = f"{gain_text(over, 'mAP')} mAP over {len(gains)} pairs of a student and a set of terms"
    return Aim(wish, figures, over.mean >= 0 if over.mean >= 0 or over.clear else None)


def _cheap(sets: Sequence[Tuned]) -> Aim:
    """The dearest pair decides."""
    wish = f"{AUTOMATIC.value}: tuning under {100 * MOST_COST:.0f} % of the grid's"
    costs = [cost for tuned in sets if (cost := tuned.cost(AUTOMATIC)) is not None]
    if not costs:
        return Aim(wish)
    return Aim(wish, f"at most {100 * max(costs):.1f} % in {len(costs)} pairs", max(costs) < MOST_COST)


def _better(sets: Sequence[Tuned]) -> Aim:
    """Rivals and the grid's best, in every pair."""
    wish = f"{AUTOMATIC.value}: above its rivals in over {100 * LEAST_BETTER:.0f} % of the comparisons"
    gains = [
        gain.mean
        for tuned in sets
        for over in (*(arm_name(tuned.terms, rival) for rival in RIVALS), tuned.best)
        if over and (gain := tuned.gain(AUTOMATIC, over)) is not None
    ]
    if not gains:
        return Aim(wish)
    above = sum(gain > 0 for gain in gains)
    return Aim(wish, f"{above} of {len(gains)}", above > LEAST_BETTER * len(gains))
