"""From a suite to runs: which configuration, which start, which steps are scored, and what makes a run unique."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf

from kd_bench.distill.arms import BASELINE, Arm, GridArm, Suite
from kd_bench.distill.ledger import Record
from kd_bench.distill.splits import REPORTED, TRAIN, TUNED, Split
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import (
    AnyConfig,
    TeacherTrainConfig,
    TrainConfig,
    load_config,
    student_config,
)
from kd_training.config.sections import DataRoot

TEACHER_SUITE, START = "teacher", "start"
DIGITS = 16  # of a digest
TUNING_SEED = 100  # not among the reported ones
# Keys that are younger than the ledgers, which hold digests without them.
YOUNGER_KEYS = (("data", "anchor"), ("model", "classes"), ("teacher", "classes"))
PARTS = 6  # the weights after each sixth of a run are kept, for learning curves
TRAINED_PART = 4  # the baseline is also scored here: it counts as trained if it gains little after it
KEYFRAMES_APART_S = 0.5
WHOLE_BACKBONE = 7  # stages of an EfficientNet-Lite, frozen: a step is a fifth cheaper
BEV_HALF, MEMORY = ("encoder", "head"), ("fusion", "motion")  # parts of students
ANEW, CONTINUED = "anew", "continued"
ADAPTER_STEPS = 40  # until then the student does not imitate: adapters that have learnt nothing would mislead it


@dataclass(frozen=True)
class Settings:
    """What all arms of a comparison share.

    The image half of every student, up to its depth network, is trained. Its BEV half is re-initialised from the seed,
    or with `continued` trained as well.
    """

    steps: int = 200
    batch: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 40
    ema_decay: float = 0.99
    seeds: int = 5
    continued: bool = False

    @property
    def begins(self) -> str:
        """The ledger's word for how the BEV half begins."""
        return CONTINUED if self.continued else ANEW


@dataclass(frozen=True)
class Given:
    """The inputs: splits by name, weights of teachers by name, and each student's configuration and start."""

    splits: Mapping[str, Split]
    teachers: Mapping[str, Path]
    configs: Mapping[str, TrainConfig]
    starts: Mapping[str, Path]


@dataclass(frozen=True)
class Run:
    """One training, or without a configuration the scoring of existing weights; `scored`: after which steps.

    `start` is a digest of the weights it starts from, and `begins` says which part of them it keeps. `digest` stands
    for the training, `protocol` for all that the run shares with the arms it is compared with.
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
    scored: tuple[int, ...]
    start: str
    begins: str
    digest: str
    protocol: str

    def key(self, step: int) -> str:
        """The ledger's key of the score after that step."""
        return f"{self.digest}-{self.arm}-{self.split}-{step}"

    @property
    def name(self) -> str:
        """For folders and for the screen."""
        return "-".join(part for part in (self.student, self.teacher, self.arm, f"seed{self.seed}") if part)


@dataclass(frozen=True)
class SuitePlan:
    """The runs of a suite: its arms under common settings, on what is given."""

    suite: Suite
    settings: Settings
    given: Given

    def tuning_runs(self) -> Iterator[Run]:
        """Every arm once, on the split and with the seed that are not reported: to choose among arms beforehand."""
        for student in self.given.configs:
            yield self.start_run(student, TUNED)
            for arm in self.suite.arms:
                for point in [arm] if isinstance(arm, Arm) else arm.points:
                    yield self.student_run(student, point, TUNING_SEED, TUNED)

    def reported_runs(self, records: Sequence[Record]) -> Iterator[Run]:
        """Every run of the suite in order: the students' starts, seed by seed every arm, then the grids.

        The order keeps the table balanced whenever time is up. A grid's best point follows once the scores of all its
        points are in `records`.
        """
        for student in self.given.configs:
            yield self.start_run(student, REPORTED)
        arms = [arm for arm in self.suite.arms if isinstance(arm, Arm)]
        for seed in range(self.settings.seeds):
            for student in self.given.configs:
                for arm in arms:
                    yield self.student_run(student, arm, seed, REPORTED)
        for grid in (arm for arm in self.suite.arms if isinstance(arm, GridArm)):
            for student in self.given.configs:
                yield from self._grid_runs(student, grid, records)

    def _grid_runs(self, student: str, grid: GridArm, records: Sequence[Record]) -> Iterator[Run]:
        """All points on the tuning split; then the best of them on the reported one."""
        points = [self.student_run(student, arm, TUNING_SEED, TUNED) for arm in grid.points]
        yield from points
        best = best_point(points, records)
        if best is not None:
            chosen = replace(grid.points[best], name=grid.name)
            for seed in range(self.settings.seeds):
                yield self.student_run(student, chosen, seed, REPORTED)

    def start_run(self, student: str, split: str) -> Run:
        """The score of the weights that every arm of a student starts from."""
        start, source = self.given.starts[student], self.given.splits[split]
        return _scoring(start, split, source, suite=self.suite.name, student=student, arm=START)

    def student_run(self, student: str, arm: Arm, seed: int, split: str) -> Run:
        """One arm of one student with one seed."""
        settings, train = self.settings, self.given.splits[TRAIN]
        config = self._config(student, arm, seed, split)
        checked = [part_step(settings.steps, TRAINED_PART)] if arm.name == BASELINE and seed == 0 else []
        scored = config.schedule.keep_steps if self.suite.curve else checked
        shared = replace(config, distill=DistillConfig(), schedule=replace(config.schedule, seed=0))
        start = self.given.starts[student]
        return Run(
            suite=self.suite.name, student=student, teacher=arm.teacher, arm=arm.name, seed=seed, split=split,
            source=self.given.splits[split].source, config=config, weights=start, steps=settings.steps,
            batch=settings.batch, scored=(*scored, settings.steps), start=_file_digest(start)[:DIGITS],
            begins=settings.begins, digest=_digest(config, start, train),
            protocol=_digest(shared, start, train, self.given.splits[REPORTED].identity),
        )  # fmt: skip

    def _config(self, student: str, arm: Arm, seed: int, split: str) -> TrainConfig:
        """The training of an arm, with the weights kept after each part but the last."""
        base, settings, splits = self.given.configs[student], self.settings, self.given.splits
        teacher = str(self.given.teachers[arm.teacher]) if arm.teacher else ""
        remembers = base.model.temporal.frames > 1
        distill = replace(arm.distill, teacher=teacher) if teacher else DistillConfig()
        if teacher and settings.continued:  # a trained head beats one that was made for other features
            distill = replace(distill, inherit_head=False, adapter_steps=ADAPTER_STEPS)
        schedule = replace(
            base.schedule,
            steps=settings.steps, epochs=0.0, batch=settings.batch, total_batch=0, seed=seed,
            keep_steps=[part_step(settings.steps, part) for part in range(1, PARTS)],
            learning_rate=settings.learning_rate, warmup_steps=settings.warmup_steps, ema_decay=settings.ema_decay,
            freeze_stages=WHOLE_BACKBONE,
            anew=[] if settings.continued else [*BEV_HALF, *(MEMORY if remembers else ())],
        )  # fmt: skip
        data = replace(base.data, roots=[splits[TRAIN].source], validation=[splits[split].source])
        return replace(base, distill=distill, data=data, schedule=schedule)


def best_point(points: Sequence[Run], records: Sequence[Record]) -> int | None:
    """Index of the grid's point with the highest mAP on the tuning split; None while one of them is missing."""
    scores = {record.key: record.mAP for record in records}
    keys = [run.key(run.steps) for run in points]
    if any(key not in scores for key in keys):
        return None
    return max(range(len(keys)), key=lambda index: scores[keys[index]])


def part_step(steps: int, part: int) -> int:
    """The step at which `part` of PARTS parts of a run end."""
    return round(steps * part / PARTS)


def teacher_run(name: str, given_weights: Path | None, recipe: str, splits: Mapping[str, Split]) -> Run:
    """A teacher's training by a shipped recipe, or the score of given weights."""
    if given_weights is not None:
        facts = {"suite": TEACHER_SUITE, "teacher": name, "arm": TEACHER_SUITE}
        return _scoring(given_weights, REPORTED, splits[REPORTED], **facts)
    config = load_config(resource(recipe))
    data = replace(config.data, roots=[splits[TRAIN].source], validation=[splits[REPORTED].source])
    config = replace(config, data=data)
    schedule = config.schedule
    digest = _digest(config, None, splits[TRAIN])
    return Run(
        suite=TEACHER_SUITE, student="", teacher=name, arm=TEACHER_SUITE, seed=schedule.seed, split=REPORTED,
        source=splits[REPORTED].source, config=config, weights=None, steps=schedule.steps, batch=schedule.batch,
        scored=(schedule.steps,), start="", begins=ANEW, digest=digest, protocol=splits[REPORTED].identity,
    )  # fmt: skip


def suite_config(student: str) -> TrainConfig:
    """The student's small configuration; one with memory learns the intervals between keyframes."""
    path = resource(f"config/training/{student}_demo.yaml")
    config = student_config(load_config(path), str(path))
    temporal = replace(config.model.temporal, shortest=KEYFRAMES_APART_S)
    return replace(config, model=replace(config.model, temporal=temporal))


def _scoring(
    weights: Path, split: str, data: Split, *, suite: str, arm: str, student: str = "", teacher: str = ""
) -> Run:
    """The score of existing weights on a split."""
    schedule, digest = checkpoint_config(weights).schedule, _file_digest(weights)[:DIGITS]
    return Run(
        suite=suite, student=student, teacher=teacher, arm=arm, seed=schedule.seed, split=split,
        source=data.source, config=None, weights=weights, steps=schedule.steps, batch=schedule.batch,
        scored=(schedule.steps,), start=digest, begins=CONTINUED, digest=digest, protocol=data.identity,
    )  # fmt: skip


def _digest(config: AnyConfig, start: Path | None, train: Split, *further: str) -> str:
    """A digest of everything that decides a training's result.

    Files count by their content. Paths, times of saving and memory for caches do not count.
    """
    schedule = replace(config.schedule, save_minutes=0.0, log_steps=1, keep_steps=[])
    data = replace(config.data, roots=[DataRoot(root=train.identity, version="")], validation=[], workers=0)
    changes = {"schedule": schedule, "data": data}
    if isinstance(config, TeacherTrainConfig):
        changes["data"] = replace(data, cache_bytes=0)
    else:
        changes["data"] = replace(data, root="", cloud_cache_bytes=0)
        teacher = _file_digest(Path(config.distill.teacher)) if config.distill.teacher else ""
        changes["distill"] = replace(config.distill, teacher=teacher, teacher_recipe="", cache_bytes=0)
    parts = (_hashed_yaml(replace(config, **changes)), _file_digest(start) if start else "", *further)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def _hashed_yaml(config: AnyConfig) -> str:
    """All keys that ledgers hash: those that are younger than the ledgers only where they are set."""
    keys = OmegaConf.to_container(OmegaConf.structured(config))
    for section, name in YOUNGER_KEYS:
        if section in keys and not keys[section][name]:
            del keys[section][name]
    return OmegaConf.to_yaml(OmegaConf.create(keys))


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
