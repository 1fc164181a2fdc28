"""The ledger of `kd bench distill`: what a line says."""

from dataclasses import dataclass, field
from pathlib import Path

from kd_bench.ledger.clock import WALL, Spent
from kd_bench.ledger.records import LedgerFile

# What reports show, with units.
FIGURES = {"mAP": "", "NDS": "", "mATE": "m", "mAOE": "rad", "axis": "rad", "turned": "%", "mAVE": "m/s"}


@dataclass(frozen=True)
class Record:
    """A run's accuracy on one split at its end.

    mAP and NDS are in [0, 1], mATE in metres, mAOE in radians, mAVE in m/s; AP and truths (boxes that the metric
    counts) are by class. `seconds` is the time of the training, by `clock` (kd_bench.ledger.clock). `start` is a digest
    of the weights it started from. Runs of one `protocol` share everything but what their arms are about and the seed;
    `key` names this line.

    Of matched boxes: axis, the error of the axis in radians, and turned, the share that looks the other way; over
    classes (None where nothing matched), and by class.
    """

    suite: str
    student: str
    teacher: str
    arm: str
    seed: int
    split: str
    steps: int
    batch: int
    mAP: float  # noqa: N815 - the field's own names
    NDS: float
    mATE: float  # noqa: N815
    mASE: float  # noqa: N815
    mAOE: float  # noqa: N815
    mAVE: float  # noqa: N815
    mAAE: float  # noqa: N815
    AP: dict[str, float]
    truths: dict[str, int]
    seconds: float
    device: str
    command: str
    commit: str
    start: str
    protocol: str
    key: str
    axis: float | None = None
    turned: float | None = None
    axes: dict[str, float] = field(default_factory=dict)
    turns: dict[str, float] = field(default_factory=dict)
    clock: str = WALL

    @property
    def comparable_seconds(self) -> float | None:
        """The time of the training; None if it cannot be compared with another run's."""
        return self.seconds if Spent(self.seconds, self.clock).comparable else None


def distill_ledger(path: Path) -> LedgerFile[Record]:
    """The ledger in a file."""
    return LedgerFile(path, Record, "kd bench distill")
