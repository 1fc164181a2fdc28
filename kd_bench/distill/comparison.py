"""One student under one protocol of the ledger: figures by arm and seed, and each arm compared with the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kd_bench.distill.arms import BASELINE, label_of
from kd_bench.distill.intervals import Estimate, estimate, paired
from kd_bench.distill.ledger import Record
from kd_bench.distill.splits import REPORTED, TUNED
from kd_bench.distill.suite_runs import CONTINUED, PARTS, START, TEACHER_SUITE, TRAINED_PART, part_step

TRAINED_GAIN = 0.01  # mAP that the baseline's last third may still bring
FIGURES = ("mAP", "NDS", "mATE", "mAOE", "mAVE")


@dataclass(frozen=True)
class Comparison:
    """Records of one student whose runs share data, start, steps and batch; those on the reported split count."""

    student: str
    steps: int
    batch: int
    protocol: str
    records: tuple[Record, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Arms that have a finished run on the reported split."""
        return tuple(
            dict.fromkeys(label_of(record.arm, record.teacher) for record in self._reported if record.finished)
        )

    @property
    def continued(self) -> bool:
        """Whether the runs continue the whole student that they start from."""
        return self.records[0].begins == CONTINUED

    @property
    def _reported(self) -> list[Record]:
        return [record for record in self.records if record.split == REPORTED]

    def by_seed(self, label: str, figure: str, step: int | None = None) -> dict[int, float]:
        """A figure (a field of Record, or 'AP class') of an arm by seed, at its end or after a step."""
        return {
            record.seed: _figure(record, figure)
            for record in self._reported
            if label_of(record.arm, record.teacher) == label and record.step == (self.steps if step is None else step)
        }

    def mean(self, label: str, figure: str) -> Estimate:
        """Over an arm's seeds; ValueError if it has none."""
        return estimate(self.by_seed(label, figure))

    def gain(self, label: str, figure: str) -> Estimate | None:
        """An arm minus the baseline, seed by seed; None if no seed has both."""
        return paired(self.by_seed(label, figure), self.by_seed(BASELINE, figure))

    def curves(self, label: str) -> dict[int, dict[int, float]]:
        """mAP by seed and step, of the seeds that have every step scored."""
        steps = [part_step(self.steps, part) for part in range(1, PARTS)] + [self.steps]
        scores = {step: self.by_seed(label, "mAP", step) for step in steps}
        whole = sorted(set.intersection(*(set(values) for values in scores.values())))
        return {seed: {step: scores[step][seed] for step in steps} for seed in whole}

    def last_third_gain(self) -> float | None:
        """mAP that the baseline gained in the last third of its steps, seed 0; None if it was not scored there."""
        before = self.by_seed(BASELINE, "mAP", part_step(self.steps, TRAINED_PART)).get(0)
        after = self.by_seed(BASELINE, "mAP").get(0)
        return None if before is None or after is None else after - before

    def tuning(self, labels: Sequence[str]) -> list[Record]:
        """Finished runs of these arms on the tuning split."""
        found = [record for record in self.records if record.split == TUNED and record.finished]
        return [record for record in found if label_of(record.arm, record.teacher) in labels]


def steps_to(curve: dict[int, float], start: float, target: float) -> float | None:
    """The step at which a learning curve (linear between its points, from `start` at step 0) first reaches `target`."""
    before_step, before = 0, start
    if before >= target:
        return 0.0
    for step, value in sorted(curve.items()):
        if value >= target:
            return before_step + (step - before_step) * (target - before) / (value - before)
        before_step, before = step, value
    return None


def comparisons(records: Sequence[Record]) -> list[Comparison]:
    """Students in the order of the ledger, the largest protocol of each first."""
    students = [record for record in records if record.suite != TEACHER_SUITE and record.arm != START]
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in students:
        groups.setdefault((record.student, record.protocol), []).append(record)
    found = [
        Comparison(student, group[0].steps, group[0].batch, protocol, tuple(group))
        for (student, protocol), group in groups.items()
    ]
    order = list(dict.fromkeys(record.student for record in students))
    return sorted(found, key=lambda entry: (order.index(entry.student), -len(entry.records)))


def _figure(record: Record, figure: str) -> float:
    return record.AP[figure.removeprefix("AP ")] if figure.startswith("AP ") else getattr(record, figure)
