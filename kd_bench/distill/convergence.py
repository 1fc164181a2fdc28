"""How many steps an arm needs to the final mAP of the baseline, from whole schedules of two lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd_bench.distill.comparison import Comparison, comparisons
from kd_bench.distill.ledger import Record
from kd_bench.distill.suite import Arm
from kd_bench.distill.terms_suite import CLAIMED_LENGTH, SHORT, TERMS, TRIPLE, TRIPLE_SHORT
from kd_bench.ledger.gates import Aim


@dataclass(frozen=True)
class StepsNeeded:
    """As shares of the baseline's steps: `share` is where a line through both lengths' mAP meets the baseline's.

    It is None where that lies outside of the two: `reached` then says whether the shorter schedule is enough.
    """

    share: float | None
    reached: bool

    @property
    def text(self) -> str:
        """In words."""
        if self.share is None:
            return f"at most {CLAIMED_LENGTH:g}" if self.reached else "more than 1"
        return f"{self.share:.2f}"


def steps_needed(compared: Comparison, short: Arm, whole: str) -> StepsNeeded | None:
    """Of the arm `whole`, which `short` is with a shorter schedule; mAP are means over seeds; None without runs."""
    means = [compared.mean(name, "mAP") for name in (compared.suite.baseline, short.name, whole)]
    if any(mean is None for mean in means):
        return None
    target, early, late = (mean.mean for mean in means)
    if early >= target:
        return StepsNeeded(None, reached=True)
    if late < target:
        return StepsNeeded(None, reached=False)
    return StepsNeeded(short.length + (1.0 - short.length) * (target - early) / (late - early), reached=False)


def convergence_aim(records: Sequence[Record]) -> Aim:
    """The claim of the triple loss. The plain loss with as few steps must miss the mark, or the claim says nothing."""
    wish = f"the triple loss reaches the baseline's mAP in {100 * (1 - CLAIMED_LENGTH):.0f} % fewer steps"
    for compared in comparisons(TERMS, records):
        needed = steps_needed(compared, TRIPLE_SHORT, TRIPLE.name)
        plain = steps_needed(compared, SHORT, compared.suite.baseline)
        if needed is not None and plain is not None:
            figures = f"share of the steps: {needed.text}; the plain loss: {plain.text}"
            return Aim(wish, figures, None if plain.reached else needed.reached)
    return Aim(wish)
