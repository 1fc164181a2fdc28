"""The ledger by sequence: a matrix of accuracies for every arm and seed, and the figures that follow from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kd_bench.continual.arms import ARMS, FIRST, JOINT
from kd_bench.continual.domains import SEQUENCES, DomainSequence
from kd_bench.continual.metrics import (
    average_accuracy,
    backward_transfer,
    forgetting_since_learnt,
    forward_transfer,
    relative_forgetting,
)
from kd_bench.continual.records import DomainRecord
from kd_bench.ledger.intervals import Estimate, estimate

# Title of a figure -> what it is of a matrix; all are shares, or mAP in [0, 1].
FIGURES: Mapping[str, Callable[[np.ndarray], float]] = {
    "average mAP": average_accuracy,
    "forgetting %": relative_forgetting,
    "since learnt %": forgetting_since_learnt,
    "backward transfer": backward_transfer,
    "forward transfer": lambda matrix: forward_transfer(matrix, np.zeros(len(matrix))),
}
FORGETTING, AVERAGE = "forgetting %", "average mAP"


@dataclass(frozen=True)
class Learned:
    """Records of one sequence under one protocol."""

    sequence: DomainSequence
    records: tuple[DomainRecord, ...]

    @property
    def arms(self) -> list[str]:
        """Those that have learnt the last domain with a seed, in the order of the plan."""
        return [arm.name for arm in ARMS[self.sequence.name] if self.seeds(arm.name)]

    def seeds(self, arm: str) -> list[int]:
        """With which an arm has learnt the last domain."""
        last = len(self.sequence.domains) - 1
        return sorted(record.seed for record in self.records if (record.arm, record.step) == (arm, last))

    def matrix(self, arm: str, seed: int) -> np.ndarray:
        """(K, K): see kd_bench.continual.metrics; NaN rows where the arm has no student (joint training: all but the
        last), or it is not learnt yet."""
        count = len(self.sequence.domains)
        found = np.full((count, count), np.nan)
        for record in self._of(arm, seed):
            found[record.step] = [record.accuracy(d.world.held_out_name, d.classes) for d in self.sequence.domains]
        return found

    def mean_matrix(self, arm: str) -> np.ndarray:
        """(K, K): over the arm's seeds."""
        return np.mean([self.matrix(arm, seed) for seed in self.seeds(arm)], axis=0)

    def figure(self, arm: str, name: str) -> Estimate | None:
        """One of FIGURES over the arm's seeds; None where no seed has it."""
        return known_estimate({seed: FIGURES[name](self.matrix(arm, seed)) for seed in self.seeds(arm)})

    def last_seconds(self, arm: str) -> dict[int, float]:
        """Seconds of the training that learnt the last domain, by seed; of those that may be compared."""
        last = len(self.sequence.domains) - 1
        found = [record for record in self.records if (record.arm, record.step) == (arm, last)]
        return {record.seed: record.seconds for record in found if record.spent.comparable}

    def all_seconds(self, arm: str) -> dict[int, float]:
        """Seconds of all trainings behind the first domain's, by seed; of those that may be compared."""
        found = {seed: [record for record in self._of(arm, seed) if record.step] for seed in self.seeds(arm)}
        return {
            seed: sum(record.seconds for record in trained)
            for seed, trained in found.items()
            if all(record.spent.comparable for record in trained)
        }

    def share_of_joint(self, values: Mapping[int, float], joint: Mapping[int, float]) -> Estimate | None:
        """A figure divided by joint training's, seed by seed."""
        return known_estimate({seed: value / joint[seed] for seed, value in values.items() if joint.get(seed)})

    def accuracy_share(self, arm: str) -> Estimate | None:
        """The average accuracy, divided by joint training's."""
        ours, joint = (
            {seed: average_accuracy(self.matrix(name, seed)) for seed in self.seeds(name)} for name in (arm, JOINT.name)
        )
        return self.share_of_joint(ours, joint)

    def time_share(self, arm: str) -> Estimate | None:
        """Seconds of the last update, divided by those of joint training at that domain."""
        return self.share_of_joint(self.last_seconds(arm), self.last_seconds(JOINT.name))

    def buffer(self, arm: str) -> int:
        """Keyframes that an arm's updates replayed from; 0 without a buffer."""
        return max((record.buffer for record in self.records if record.arm == arm), default=0)

    def _of(self, arm: str, seed: int) -> list[DomainRecord]:
        """An arm's records with a seed, and the first domain's, which all but joint training go on from."""
        names = (arm,) if arm == JOINT.name else (arm, FIRST)
        return [record for record in self.records if record.arm in names and record.seed == seed]


def learned(sequence: DomainSequence, records: Sequence[DomainRecord]) -> list[Learned]:
    """One for each protocol that the sequence has records under, the one with most of them first."""
    ours = [record for record in records if record.sequence == sequence.name]
    protocols = dict.fromkeys(record.protocol for record in ours)
    found = [Learned(sequence, tuple(r for r in ours if r.protocol == protocol)) for protocol in protocols]
    return sorted(found, key=lambda entry: -len(entry.records))


def main_results(records: Sequence[DomainRecord]) -> dict[str, Learned]:
    """Of each sequence that has an arm with all domains, by its name."""
    found = {sequence.name: learned(sequence, records)[:1] for sequence in SEQUENCES}
    return {name: entries[0] for name, entries in found.items() if entries and entries[0].arms}


def known_estimate(values: Mapping[int, float]) -> Estimate | None:
    """Of the seeds whose value is a number; None without any."""
    known = {seed: value for seed, value in values.items() if not np.isnan(value)}
    return estimate(known) if known else None
