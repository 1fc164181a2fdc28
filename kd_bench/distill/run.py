"""One run of a suite."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kd_bench.distill.ledger import Record
from kd_bench.ledger import worker
from kd_bench.ledger.clock import read_spent
from kd_bench.ledger.worker import Order, ScoredSet, origin, score_file
from kd_bench.tables import command_line
from kd_training.config.experiment import AnyConfig, to_yaml
from kd_training.config.sections import DataRoot
from kd_training.loop.companions import batches_key

TEACHER = "teacher"  # the suite of what students learn from


@dataclass(frozen=True)
class Run:
    """One training, or without a configuration the scoring of existing weights; as kd_bench.ledger.pool wants it.

    `home` holds a folder for each run; arms that ask for the same training share theirs.
    `start` is a digest of the weights it starts from, empty for ImageNet's. `digest` stands for the training,
    `protocol` for all that the run shares with the arms it is compared with. `teaches`: whether its student teaches
    those of other arms.
    """

    suite: str
    student: str
    teacher: str
    arm: str
    seed: int
    split: str
    source: DataRoot
    config: AnyConfig | None
    weights: Path | None
    steps: int
    batch: int
    start: str
    digest: str
    protocol: str
    home: Path
    worker: str = worker.__name__
    teaches: bool = False

    @property
    def key(self) -> str:
        """The ledger's key of its score."""
        return f"{self.digest}-{self.arm}-{self.split}"

    @property
    def name(self) -> str:
        """For the screen."""
        return "-".join(part for part in (self.student, self.teacher, self.arm, f"seed{self.seed}") if part)

    @property
    def folder(self) -> Path:
        """Where it is carried out."""
        parts = (self.student, self.teacher, f"seed{self.seed}", self.digest)
        return self.home / "-".join(part for part in parts if part)

    @property
    def needed(self) -> bool:
        """Whether other runs need its weights: students those of what they learn from."""
        return (self.suite == TEACHER or self.teaches) and self.config is not None

    @property
    def batches(self) -> str:
        """Equal for runs that take the same batches."""
        return "" if self.config is None else batches_key(self.config)

    def order(self, threads: int) -> Order:
        """What a worker is to do for it."""
        config = "" if self.config is None else to_yaml(self.config)
        weights = "" if self.weights is None else str(self.weights)
        return Order(config, weights, {self.split: ScoredSet(self.source.root, self.source.version)}, threads)

    def record(self) -> Record:
        """What the finished run tells the ledger."""
        return Record(
            suite=self.suite, student=self.student, teacher=self.teacher, arm=self.arm, seed=self.seed,
            split=self.split, steps=self.steps, batch=self.batch,
            command=command_line(), start=self.start, protocol=self.protocol, key=self.key,
            **asdict(origin(self.folder)), **asdict(read_spent(self.folder)),
            **json.loads(score_file(self.folder, self.split).read_text()),
        )  # fmt: skip

    def outcome(self) -> str:
        """Its accuracy in a few words."""
        found = self.record()
        return f"mAP {found.mAP:.4f}, NDS {found.NDS:.4f} on {self.split}, {found.seconds:.0f} s"
