"""From suites to runs: which configuration, which start, and what makes a run unique."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from omegaconf import OmegaConf

from kd_bench.distill.arms import TEACHERS, Arm, Slice, Start, Suite
from kd_bench.distill.few_labels import held_back, labelled, shown_to_teacher
from kd_bench.distill.ledger import Record
from kd_bench.distill.splits import REPORTED, TRAIN, Split
from kd_bench.distill.worker import TRAINED_FILE
from kd_perception.resources import resource
from kd_perception.student.box_codes import Heading
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config
from kd_training.config.distill import (
    CrossHeadConfig,
    DistillConfig,
    LabelFeatureConfig,
    PearsonConfig,
    RayContrastConfig,
)
from kd_training.config.experiment import (
    AnyConfig,
    LabelTrainConfig,
    TeacherTrainConfig,
    TrainConfig,
    label_config,
    load_config,
    student_config,
    teacher_config,
)
from kd_training.config.sections import DataConfig, DataRoot, PseudoConfig

TEACHER, ENCODER = "teacher", "label encoder"  # arms of what students learn from; TEACHER is the suite of both
TEACHER_RECIPE, ENCODER_RECIPE = "config/teacher/centerpoint_demo.yaml", "config/labels/centerpoint_demo.yaml"
DIGITS = 16  # of a digest
# Keys that are younger than the ledgers, which hold digests without them: section, name, value before.
YOUNGER_KEYS = (
    ("data", "anchor", ""),
    ("data", "unlabelled", []),
    ("data", "pseudo", asdict(PseudoConfig())),
    ("distill", "cross_head", asdict(CrossHeadConfig())),
    ("distill", "labels", asdict(LabelFeatureConfig())),
    ("distill", "pearson", asdict(PearsonConfig())),
    ("distill", "ray_contrast", asdict(RayContrastConfig())),
    ("model", "classes", {}),
    ("teacher", "classes", {}),
    ("model", "heading", Heading.vector),
    ("teacher", "heading", Heading.vector),
)
KEYFRAMES_APART_S = 0.5
PSEUDO_FOLDER = "labels"  # in the folder of the teacher that made them
BEV_HALF, MEMORY = ("encoder", "head"), ("fusion", "motion")  # parts of students that begin anew


@dataclass(frozen=True)
class Settings:
    """What all arms of all suites share."""

    steps: int = 1200
    batch: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 60
    ema_decay: float = 0.99


@dataclass(frozen=True)
class Given:
    """The inputs.

    Splits by name; each student's configuration; `start`: weights whose image half was trained on depth alone;
    `teachers`: weights of those that are not to be trained here; `folder`: holds a folder for each run.
    """

    splits: Mapping[str, Split]
    configs: Mapping[str, TrainConfig]
    start: Path
    teachers: Mapping[str, Path]
    folder: Path


@dataclass(frozen=True)
class Run:
    """One training, or without a configuration the scoring of existing weights.

    `start` is a digest of the weights it starts from, empty for ImageNet's. `digest` stands for the training,
    `protocol` for all that the run shares with the arms it is compared with.
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

    @property
    def key(self) -> str:
        """The ledger's key of its score."""
        return f"{self.digest}-{self.arm}-{self.split}"

    @property
    def name(self) -> str:
        """For the screen."""
        return "-".join(part for part in (self.student, self.teacher, self.arm, f"seed{self.seed}") if part)

    @property
    def makes_teacher(self) -> bool:
        """Whether other runs need its weights."""
        return self.suite == TEACHER and self.config is not None


@dataclass(frozen=True)
class Planner:
    """Makes runs of suites under common settings, on what is given."""

    settings: Settings
    given: Given

    def runs(self, slices: Iterable[Slice], records: Sequence[Record]) -> Iterator[Run]:
        """Every run in order, each once, a teacher before its students.

        The students of a teacher that is yet to be trained are left out: they follow once `records` has it.
        """
        seen: set[str] = set()
        known = {record.key for record in records}
        for suite, arm, seed in (piece for entry in slices for piece in entry.pieces()):
            for make in (*self._needed_by(arm), partial(self.student_run, suite, arm, seed)):
                run = make()
                if run.key not in seen:
                    seen.add(run.key)
                    yield run
                if run.key not in known or not self._has_weights(run):
                    break  # what follows depends on it

    def folder_of(self, run: Run) -> Path:
        """A training's own folder; arms that ask for the same training share it."""
        parts = (run.student, run.teacher, f"seed{run.seed}", run.digest)
        return self.given.folder / "-".join(part for part in parts if part)

    def weights_of(self, run: Run) -> Path:
        """Where a run's weights are, once there are any."""
        return run.weights if run.config is None else self.folder_of(run) / WEIGHTS_FILE

    def _needed_by(self, arm: Arm) -> Iterator[Callable[[], Run]]:
        """Makes the runs whose weights an arm needs, each of which needs those before it."""
        if arm.teacher:
            yield lambda: self.teacher_run(arm.teacher)
        if arm.distill.labels.weight > 0:
            yield lambda: self.encoder_run(arm.teacher)

    def _has_weights(self, run: Run) -> bool:
        return run.config is None or (self.folder_of(run) / TRAINED_FILE).is_file()

    def teacher_run(self, name: str) -> Run:
        """A teacher's training, or the score of given weights."""
        splits = self.given.splits
        if name in self.given.teachers:
            return _scoring(self.given.teachers[name], name, splits[REPORTED])
        recipe = resource(TEACHER_RECIPE)
        config = teacher_config(load_config(recipe), str(recipe))
        roots = [shown_to_teacher(splits[TRAIN], TEACHERS[name])]
        config = replace(config, data=replace(config.data, roots=roots, validation=[splits[REPORTED].source]))
        schedule = config.schedule
        return Run(
            suite=TEACHER, student="", teacher=name, arm=TEACHER, seed=schedule.seed, split=REPORTED,
            source=splits[REPORTED].source, config=config, weights=None, steps=schedule.steps, batch=schedule.batch,
            start="", digest=_digest(config, None, splits[TRAIN]), protocol=splits[REPORTED].identity,
        )  # fmt: skip

    def encoder_run(self, teacher: str) -> Run:
        """The training of the label encoder that belongs to a teacher, on the labels that the teacher has seen."""
        splits, recipe = self.given.splits, resource(ENCODER_RECIPE)
        config = label_config(load_config(recipe), str(recipe))
        roots = [shown_to_teacher(splits[TRAIN], TEACHERS[teacher])]
        data = replace(config.data, roots=roots, validation=[splits[REPORTED].source])
        weights = self.weights_of(self.teacher_run(teacher))
        config = replace(config, labels=replace(config.labels, teacher=str(weights)), data=data)
        schedule = config.schedule
        return Run(
            suite=TEACHER, student="", teacher=teacher, arm=ENCODER, seed=schedule.seed, split=REPORTED,
            source=splits[REPORTED].source, config=config, weights=None, steps=schedule.steps, batch=schedule.batch,
            start="", digest=_digest(config, None, splits[TRAIN]), protocol=splits[REPORTED].identity,
        )  # fmt: skip

    def student_run(self, suite: Suite, arm: Arm, seed: int) -> Run:
        """One arm of a suite with one seed."""
        splits, train = self.given.splits, self.given.splits[TRAIN]
        config, shared = self._config(suite, arm, seed), self._config(suite, Arm(""), 0)
        start = self.given.start if suite.start == Start.depth else None
        return Run(
            suite=suite.name, student=suite.student, teacher=arm.teacher, arm=arm.name, seed=seed, split=suite.split,
            source=splits[suite.split].source, config=config, weights=start, steps=config.schedule.steps,
            batch=self.settings.batch, start=_file_digest(start)[:DIGITS] if start else "",
            digest=_digest(config, start, train),
            protocol=_digest(shared, start, train, splits[REPORTED].identity),
        )  # fmt: skip

    def _config(self, suite: Suite, arm: Arm, seed: int) -> TrainConfig:
        """An arm's training."""
        base, settings = self.given.configs[suite.student], self.settings
        distill = DistillConfig()
        if arm.teacher:
            distill = replace(arm.distill, teacher=str(self.weights_of(self.teacher_run(arm.teacher))))
        if distill.labels.weight > 0:
            encoder = str(self.weights_of(self.encoder_run(arm.teacher)))
            distill = replace(distill, labels=replace(distill.labels, encoder=encoder))
        anew = [*BEV_HALF, *(MEMORY if base.model.temporal.frames > 1 else ())]
        steps = round(settings.steps * suite.length * arm.length)
        schedule = replace(
            base.schedule,
            steps=steps, epochs=0.0, batch=settings.batch, total_batch=0, seed=seed, keep_steps=[],
            learning_rate=settings.learning_rate, warmup_steps=min(settings.warmup_steps, steps // 2),
            ema_decay=settings.ema_decay, anew=anew if suite.start == Start.depth else [],
        )  # fmt: skip
        loss = base.loss if suite.depth_loss else replace(base.loss, depth=0.0)
        return replace(base, distill=distill, data=self._data(suite, arm), loss=loss, schedule=schedule)

    def _data(self, suite: Suite, arm: Arm) -> DataConfig:
        """What an arm is trained and scored on; a teacher's labels lie in that teacher's folder."""
        train, data = self.given.splits[TRAIN], self.given.configs[suite.student].data
        source = labelled(train, arm.labelled)
        data = replace(data, roots=[source], validation=[self.given.splits[suite.split].source])
        if not arm.unlabelled:
            return data
        others = replace(train.source, scenes=[scene for scene in train.scenes if scene not in source.scenes])
        kept = held_back(train, arm.labelled)
        pseudo = replace(
            data.pseudo,
            folder=str(self.folder_of(self.teacher_run(arm.teacher)) / PSEUDO_FOLDER),
            calibration=[kept] if kept.scenes else [],
            share=arm.unlabelled,
        )
        return replace(data, unlabelled=[others], pseudo=pseudo)


def suite_config(student: str) -> TrainConfig:
    """The student's small configuration; one with memory learns the intervals between keyframes."""
    path = resource(f"config/training/{student}_demo.yaml")
    config = student_config(load_config(path), str(path))
    temporal = replace(config.model.temporal, shortest=KEYFRAMES_APART_S)
    return replace(config, model=replace(config.model, temporal=temporal))


def _scoring(weights: Path, teacher: str, data: Split) -> Run:
    """The score of a teacher's existing weights."""
    schedule, digest = checkpoint_config(weights).schedule, _file_digest(weights)[:DIGITS]
    return Run(
        suite=TEACHER, student="", teacher=teacher, arm=TEACHER, seed=schedule.seed, split=REPORTED,
        source=data.source, config=None, weights=weights, steps=schedule.steps, batch=schedule.batch, start=digest,
        digest=digest, protocol=data.identity,
    )  # fmt: skip


def _digest(config: AnyConfig, start: Path | None, train: Split, *further: str) -> str:
    """A digest of everything that decides a training's result.

    Files count by their content. Paths, times of saving and memory for caches do not count.
    """
    schedule = replace(config.schedule, save_minutes=0.0, log_steps=1, keep_steps=[])
    data = replace(config.data, roots=_by_content(config.data.roots, train), validation=[], workers=0)
    changes = {"schedule": schedule, "data": data}
    if isinstance(config, TeacherTrainConfig):
        changes["data"] = replace(data, cache_bytes=0)
    elif isinstance(config, LabelTrainConfig):
        changes["labels"] = replace(config.labels, teacher=_file_digest(Path(config.labels.teacher)))
    else:
        calibration = _by_content(data.pseudo.calibration, train)
        pseudo = replace(data.pseudo, folder=PseudoConfig().folder, calibration=calibration)
        unlabelled = _by_content(data.unlabelled, train)
        changes["data"] = replace(data, root="", cloud_cache_bytes=0, unlabelled=unlabelled, pseudo=pseudo)
        distill = config.distill
        teacher, encoder = (
            _file_digest(Path(name)) if name else "" for name in (distill.teacher, distill.labels.encoder)
        )
        labels = replace(distill.labels, encoder=encoder)
        changes["distill"] = replace(distill, teacher=teacher, labels=labels, teacher_recipe="", cache_bytes=0)
    parts = (hashed_yaml(replace(config, **changes)), _file_digest(start) if start else "", *further)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def _by_content(sources: Sequence[DataRoot], train: Split) -> list[DataRoot]:
    """Parts of the training split, wherever it lies."""
    return [replace(source, root=train.identity, version="") for source in sources]


def hashed_yaml(config: AnyConfig) -> str:
    """All keys that ledgers hash: those that are younger than the ledgers only where they have another value."""
    keys = OmegaConf.to_container(OmegaConf.structured(config))
    for section, name, before in YOUNGER_KEYS:
        if name in keys.get(section, {}) and keys[section][name] == before:
            del keys[section][name]
    return OmegaConf.to_yaml(OmegaConf.create(keys))


def _file_digest(path: Path) -> str:
    return _digest_of_content(path, path.stat().st_mtime_ns)


@lru_cache
def _digest_of_content(path: Path, _: int) -> str:
    """Of a file as it was at one time: a plan asks for the same few files over and over."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
