"""One training of `kd bench continual`: the first domain's student, an update, or a joint training."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Optional

from kd_bench.continual.records import DomainRecord
from kd_bench.ledger.clock import read_spent
from kd_bench.ledger.worker import Order, ScoredSet, origin, score_file
from kd_bench.tables import command_line
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE
from kd_training.config.experiment import TrainConfig, to_yaml
from kd_training.config.sections import DataRoot

BUFFER_FOLDER, LABELS_FOLDER, OLD_LABELS_FOLDER = "buffer", "labels", "labels_of_old"  # in a run's folder


@dataclass(frozen=True)
class DomainRun:
    """One training, as kd_bench.ledger.pool wants it.

    `config` names no file that lies in a run's folder: `order` does. `weights`: what it starts from, unless it updates
    the student of the run `before`. `held_out`: data sets to score on, by name; `digest` stands for the training;
    `is_known`: nothing is trained, `weights` are scored as they are.
    """

    sequence: str
    student: str
    arm: str
    seed: int
    step: int
    domain: str
    config: TrainConfig
    weights: Path | None
    before: Optional["DomainRun"]
    held_out: dict[str, DataRoot]
    digest: str
    protocol: str
    home: Path
    needed: bool
    replays: bool = False
    is_known: bool = False
    batches: str = ""  # an update keeps a buffer of its own

    @property
    def worker(self) -> str:
        """The module that carries it out."""
        return "kd_bench.continual.known_worker" if self.is_known else "kd_bench.continual.worker"

    @property
    def key(self) -> str:
        """The ledger's key: arms of several sequences may share a training."""
        return f"{self.digest}-{self.sequence}-{self.arm}"

    @property
    def name(self) -> str:
        """For the screen."""
        return f"{self.sequence}-{self.arm}-seed{self.seed}-{self.step}-{self.domain}"

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        return 0 if self.is_known else self.config.schedule.steps

    @property
    def folder(self) -> Path:
        """Where it is carried out; runs that are the same training share it."""
        return self.home / f"{self.student}-seed{self.seed}-{self.domain}-{self.digest}"

    def order(self, threads: int) -> Order:
        """What a worker is to do for it."""
        scored = {name: ScoredSet(source.root, source.version) for name, source in self.held_out.items()}
        weights = "" if self.weights is None else str(self.weights)
        return Order(to_yaml(self._located()), weights, scored, threads, str(self.before.folder) if self.before else "")

    def _located(self) -> TrainConfig:
        """The configuration with the files and folders of this run and of the one before."""
        if self.before is None:
            return self.config
        update, data = self.config.continual, self.config.data
        update = replace(
            update,
            student=str(self.before.folder / WEIGHTS_FILE),
            replay=replace(update.replay, folder=str(self.folder / BUFFER_FOLDER) if self.replays else ""),
            lacking=replace(update.lacking, folder=str(self.folder / OLD_LABELS_FOLDER)),
        )
        pseudo = replace(data.pseudo, folder=str(self.folder / LABELS_FOLDER))
        return replace(self.config, continual=update, data=replace(data, pseudo=pseudo))

    def record(self) -> DomainRecord:
        """What the finished run tells the ledger."""
        return DomainRecord(
            sequence=self.sequence, student=self.student, arm=self.arm, seed=self.seed, step=self.step,
            domain=self.domain, steps=self.steps, batch=self.config.schedule.batch,
            buffer=self.config.continual.buffer.keyframes if self.replays else 0,
            scores={name: json.loads(score_file(self.folder, name).read_text()) for name in self.held_out},
            command=command_line(), protocol=self.protocol, key=self.key,
            **asdict(origin(self.folder)), **asdict(read_spent(self.folder)),
        )  # fmt: skip

    def outcome(self) -> str:
        """mAP on every held-out set."""
        found = self.record()
        scores = ", ".join(f"{name} {score['mAP']:.4f}" for name, score in found.scores.items())
        return f"mAP {scores}; {found.seconds:.0f} s"
