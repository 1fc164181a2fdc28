"""One student under one protocol of the ledger: figures by arm and seed, and arms compared seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd_bench.distill.arms import CEILING, MAIN
from kd_bench.distill.common_arms import NONE, NONE_SHORT
from kd_bench.distill.ledger import Record
from kd_bench.distill.run import TEACHER
from kd_bench.distill.suite import Suite
from kd_bench.ledger.intervals import Estimate, estimate, paired

TRAINED_GAIN = 0.01  # mAP that the last third of a whole schedule may still bring


@dataclass(frozen=True)
class Comparison:
    """A suite's records of runs that share data, start, steps and batch, of its split."""

    suite: Suite
    records: tuple[Record, ...]

    @property
    def steps(self) -> int:
        """Of a whole run."""
        return max(record.steps for record in self.records)

    @property
    def batch(self) -> int:
        """Samples of a step."""
        return self.records[0].batch

    @property
    def labels(self) -> list[str]:
        """The suite's arms that have a finished run."""
        there = {record.arm for record in self.records}
        return [arm.name for arm in self.suite.arms if arm.name in there]

    def by_seed(self, label: str, figure: str) -> dict[int, float]:
        """A figure (a field of Record, or 'AP class') of an arm by seed; seeds without it are left out."""
        found = {record.seed: _figure(record, figure) for record in self.records if record.arm == label}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, label: str, figure: str) -> Estimate | None:
        """Over an arm's seeds; None if it has none."""
        values = self.by_seed(label, figure)
        return estimate(values) if values else None

    def gain(self, label: str, figure: str, over: str = "") -> Estimate | None:
        """An arm minus another (the baseline), seed by seed; None if no seed has both."""
        return paired(self.by_seed(label, figure), self.by_seed(over or self.suite.baseline, figure))

    def share_of_ceiling(self, label: str) -> Estimate | None:
        """An arm's mAP divided by that of the arm with all labels, seed by seed."""
        most = self.by_seed(CEILING, "mAP")
        shares = {seed: value / most[seed] for seed, value in self.by_seed(label, "mAP").items() if most.get(seed)}
        return estimate(shares) if shares else None

    def last_third_gain(self) -> float | None:
        """mAP of the baseline minus that of one whose whole schedule is two thirds as long, seed 0; None without it."""
        gain = self.gain(NONE.name, "mAP", NONE_SHORT.name)
        return None if gain is None else gain.mean


def comparisons(suite: Suite, records: Sequence[Record]) -> list[Comparison]:
    """One for each protocol that the suite has runs under, the one with most of them first."""
    arms = {arm.name for arm in suite.arms}
    protocols = dict.fromkeys(
        record.protocol for record in records if record.suite == suite.name and record.student == suite.student
    )
    found = [
        Comparison(
            suite,
            tuple(
                record
                for record in records
                if (record.protocol, record.split) == (protocol, suite.split) and record.arm in arms
            ),
        )
        for protocol in protocols
    ]
    return sorted(found, key=lambda entry: -len(entry.records))


def last_third_gain(records: Sequence[Record]) -> float | None:
    """See Comparison, of the main suite's baseline."""
    return next(
        (gain for entry in comparisons(MAIN, records) if (gain := entry.last_third_gain()) is not None),
        None,
    )


def teachers(records: Sequence[Record]) -> list[Record]:
    """The scores of teachers."""
    return [record for record in records if record.suite == TEACHER]


def _figure(record: Record, figure: str) -> float | None:
    if figure.startswith("AP "):
        return record.AP.get(figure.removeprefix("AP "))
    return getattr(record, figure)
