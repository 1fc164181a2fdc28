"""From a suite to runs: which configuration, which start, which steps are scored, and what makes a run unique."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
    to_yaml,
)
from kd_training.config.sections import DataRoot

TEACHER_SUITE, START = "teacher", "start"
DIGITS = 16  # of a digest
TUNING_SEED = 100  # not among the reported ones
PARTS = 6  # the weights after each sixth of a run are kept, for learning curves
TRAINED_PART = 4  # the baseline is scored there, too: it counts as trained if it gains little in the last third
KEYFRAMES_APART_S = 0.5
WHOLE_BACKBONE = 7  # stages of an EfficientNet-Lite, kept as they are: a step is a fifth cheaper
BEV_HALF, MEMORY = ("encoder", "head"), ("fusion", "motion")  # parts of students
ANEW, CONTINUED = "anew", "continued"
ADAPTER_STEPS = 40  # a trained student does not follow adapters that know nothing


@dataclass(frozen=True)
class Settings:
    """What all arms of a comparison share. The image half of every student, up to its depth, is a trained one's; its
    BEV half is made anew from the seed, or with `continued` a trained one's, too."""

    steps: int = 200
    batch: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 40
    ema_decay: float = 0.99
    seeds: int = 5
    continued: bool = False

    @property
    def begins(self) -> str:
        """What a ledger calls it."""
        return CONTINUED if self.continued else ANEW


@dataclass(frozen=True)
class Given:
    """What is there: splits by name, weights of teachers by name, and each student's configuration and start."""

    splits: Mapping[str, Split]
    teachers: Mapping[str, Path]
    configs: Mapping[str, TrainConfig]
    starts: Mapping[str, Path]


@dataclass(frozen=True)
class Run:
    """One training, or with no configuration one scoring of weights that are there; `scored`: after which steps.

    `start` names the weights it begins with and `begins` what of them it takes, `digest` the training, `protocol` all
    that it shares with the arms it is compared with.
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


def tuning_runs(suite: Suite, settings: Settings, given: Given) -> Iterator[Run]:
    """Every arm once, on the split and with the seed that are not reported: to choose among arms beforehand."""
    for student in given.configs:
        yield start_run(suite, student, TUNED, given)
        for arm in suite.arms:
            for point in [arm] if isinstance(arm, Arm) else arm.points:
                yield student_run(suite, student, point, TUNING_SEED, TUNED, settings, given)


def suite_runs(suite: Suite, settings: Settings, given: Given, records: Sequence[Record]) -> Iterator[Run]:
    """Every run of a suite in order: first the students' starts, then seed by seed every arm, so that the table is
    balanced whenever time is up; then the grids, and what they found, once all their points are in `records`."""
    for student in given.configs:
        yield start_run(suite, student, REPORTED, given)
    arms = [arm for arm in suite.arms if isinstance(arm, Arm)]
    for seed in range(settings.seeds):
        for student in given.configs:
            for arm in arms:
                yield student_run(suite, student, arm, seed, REPORTED, settings, given)
    for grid in (arm for arm in suite.arms if isinstance(arm, GridArm)):
        for student in given.configs:
            points = [student_run(suite, student, arm, TUNING_SEED, TUNED, settings, given) for arm in grid.points]
            yield from points
            best = best_point(points, records)
            if best is not None:
                chosen = replace(grid.points[best], name=grid.name)
                for seed in range(settings.seeds):
                    yield student_run(suite, student, chosen, seed, REPORTED, settings, given)


def best_point(points: Sequence[Run], records: Sequence[Record]) -> int | None:
    """Index of the grid's point with the highest mAP on the tuning split; None while one of them is missing."""
    scores = {record.key: record.mAP for record in records}
    keys = [run.key(run.steps) for run in points]
    if any(key not in scores for key in keys):
        return None
    return max(range(len(keys)), key=lambda index: scores[keys[index]])


def student_run(suite: Suite, student: str, arm: Arm, seed: int, split: str, settings: Settings, given: Given) -> Run:
    """One arm of one student with one seed."""
    teacher = str(given.teachers[arm.teacher]) if arm.teacher else ""
    base = given.configs[student]
    kept = [part_step(settings.steps, part) for part in range(1, PARTS)]
    remembers = base.model.temporal.frames > 1
    anew = [] if settings.continued else [*BEV_HALF, *(MEMORY if remembers else ())]
    distill = replace(arm.distill, teacher=teacher) if teacher else DistillConfig()
    if teacher and settings.continued:  # its trained head is better there than one made for other features
        distill = replace(distill, inherit_head=False, adapter_steps=ADAPTER_STEPS)
    config = replace(
        base,
        distill=distill,
        data=replace(base.data, roots=[given.splits[TRAIN].source], validation=[given.splits[split].source]),
        schedule=replace(
            base.schedule,
            steps=settings.steps, epochs=0.0, batch=settings.batch, total_batch=0, seed=seed, keep_steps=kept,
            learning_rate=settings.learning_rate, warmup_steps=settings.warmup_steps, ema_decay=settings.ema_decay,
            freeze_stages=WHOLE_BACKBONE, anew=anew,
        ),
    )  # fmt: skip
    checked = [part_step(settings.steps, TRAINED_PART)] if arm.name == BASELINE and seed == 0 else []
    scored = kept if suite.curve else checked
    shared = replace(config, distill=DistillConfig(), schedule=replace(config.schedule, seed=0))
    start = given.starts[student]
    return Run(
        suite=suite.name, student=student, teacher=arm.teacher, arm=arm.name, seed=seed, split=split,
        source=given.splits[split].source, config=config, weights=start, steps=settings.steps, batch=settings.batch,
        scored=(*scored, settings.steps), start=_file_digest(start)[:DIGITS], begins=settings.begins,
        digest=_digest(config, start, given.splits[TRAIN]),
        protocol=_digest(shared, start, given.splits[TRAIN], given.splits[REPORTED].identity),
    )  # fmt: skip


def part_step(steps: int, part: int) -> int:
    """The step at which that many of PARTS parts of a run are over."""
    return round(steps * part / PARTS)


def start_run(suite: Suite, student: str, split: str, given: Given) -> Run:
    """The score of the weights that every arm of a student continues."""
    return _scoring(suite.name, student, "", START, given.starts[student], split, given.splits)


def teacher_run(name: str, given_weights: Path | None, recipe: str, splits: Mapping[str, Split]) -> Run:
    """A teacher's training by a shipped recipe, or the score of given weights."""
    if given_weights is not None:
        return _scoring(TEACHER_SUITE, "", name, TEACHER_SUITE, given_weights, REPORTED, splits)
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
    """The student's small configuration; one with memory learns the intervals that keyframes have."""
    path = resource(f"config/training/{student}_demo.yaml")
    config = student_config(load_config(path), str(path))
    temporal = replace(config.model.temporal, shortest=KEYFRAMES_APART_S)
    return replace(config, model=replace(config.model, temporal=temporal))


def _scoring(
    suite: str, student: str, teacher: str, arm: str, weights: Path, split: str, splits: Mapping[str, Split]
) -> Run:
    """Weights that are there, scored as they are."""
    schedule, digest = checkpoint_config(weights).schedule, _file_digest(weights)[:DIGITS]
    return Run(
        suite=suite, student=student, teacher=teacher, arm=arm, seed=schedule.seed, split=split,
        source=splits[split].source, config=None, weights=weights, steps=schedule.steps, batch=schedule.batch,
        scored=(schedule.steps,), start=digest, begins=CONTINUED, digest=digest, protocol=splits[split].identity,
    )  # fmt: skip


def _digest(config: AnyConfig, start: Path | None, train: Split, *further: str) -> str:
    """A digest of all that decides a training's result, and nothing else: files count by their content; their paths,
    what is saved when, and memory for caches do not."""
    schedule = replace(config.schedule, save_minutes=0.0, log_steps=1, keep_steps=[])
    data = replace(config.data, roots=[DataRoot(root=train.identity, version="")], validation=[], workers=0)
    changes = {"schedule": schedule, "data": data}
    if isinstance(config, TeacherTrainConfig):
        changes["data"] = replace(data, cache_bytes=0)
    else:
        changes["data"] = replace(data, root="", cloud_cache_bytes=0)
        teacher = _file_digest(Path(config.distill.teacher)) if config.distill.teacher else ""
        changes["distill"] = replace(config.distill, teacher=teacher, teacher_recipe="", cache_bytes=0)
    parts = (to_yaml(replace(config, **changes)), _file_digest(start) if start else "", *further)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
