"""The ledger of `kd bench continual`: one line for each domain that an arm has learnt with a seed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_bench.ledger.clock import WALL, Spent
from kd_bench.ledger.records import LedgerFile


@dataclass(frozen=True)
class DomainRecord:
    """A student's accuracy on every held-out set after it learnt the domain of `step`.

    scores: by held-out set what kd_bench.ledger.accuracy gives: mAP and NDS in [0, 1], AP and counted boxes by class.
    `seconds` is the time of this training alone, with what had to be labelled for it, by `clock`
    (kd_bench.ledger.clock); `buffer`: keyframes that were replayed from. Runs of one `protocol` share data, start,
    steps and rates; `key` names this line.
    """

    sequence: str
    student: str
    arm: str
    seed: int
    step: int
    domain: str
    steps: int
    batch: int
    buffer: int
    scores: dict[str, dict[str, Any]]
    seconds: float
    device: str
    command: str
    commit: str
    protocol: str
    key: str
    clock: str = WALL

    @property
    def spent(self) -> Spent:
        """How long the training took."""
        return Spent(self.seconds, self.clock)

    def accuracy(self, held_out: str, classes: tuple[str, ...]) -> float:
        """Mean AP over classes on a held-out set; a class that the student does not know counts 0."""
        found = self.scores[held_out]["AP"]
        return sum(found.get(name, 0.0) for name in classes) / len(classes)


def continual_ledger(path: Path) -> LedgerFile[DomainRecord]:
    """The ledger in a file."""
    return LedgerFile(path, DomainRecord, "kd bench continual")
