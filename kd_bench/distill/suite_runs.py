"""From suites to runs: which configuration and which start."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kd_bench.distill.common_arms import TEACHERS
from kd_bench.distill.few_labels import held_back, labelled, shown_to_teacher
from kd_bench.distill.ledger import Record
from kd_bench.distill.run import TEACHER, Run
from kd_bench.distill.splits import REPORTED, TRAIN
from kd_bench.distill.suite import Arm, Slice, Start, Suite
from kd_bench.ledger.digests import DIGITS, content_digest, training_digest
from kd_bench.ledger.splits import Split
from kd_bench.ledger.worker import TRAINED_FILE
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import (
    AnyConfig,
    TrainConfig,
    label_config,
    load_config,
    teacher_config,
)
from kd_training.config.sections import DataConfig, ModelConfig

ENCODER = "label encoder"  # the arm of what students learn from that is no teacher
TEACHER_RECIPE, ENCODER_RECIPE = "config/teacher/centerpoint_demo.yaml", "config/labels/centerpoint_demo.yaml"
PSEUDO_FOLDER = "labels"  # in the folder of the teacher that made them
BEV_HALF, MEMORY = ("encoder", "head"), ("fusion", "motion")  # parts of students that start from the seed


@dataclass(frozen=True)
class Settings:
    """What all arms of all suites share."""

    steps: int = 600
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
class Planner:
    """Makes runs of suites under common settings, on what is given."""

    settings: Settings
    given: Given

    def runs(self, slices: Iterable[Slice], records: Sequence[Record]) -> Iterator[Run]:
        """Every run in order, each once, a teacher before its students.

        The students of a teacher that is yet to be trained are left out: they follow once `records` has it.
        """
        seen: set[tuple[str, bool]] = set()
        known = {record.key for record in records}
        for suite, arm, seed in (piece for entry in slices for piece in entry.pieces()):
            for make in (*self._needed_by(suite, arm, seed), partial(self.student_run, suite, arm, seed)):
                run = make()
                if (run.key, run.needed) not in seen:
                    seen.add((run.key, run.needed))
                    yield run
                if run.key not in known or not self._has_weights(run):
                    break  # what follows depends on it

    def weights_of(self, run: Run) -> Path:
        """Where a run's weights are, once there are any."""
        return run.weights if run.config is None else run.folder / WEIGHTS_FILE

    def _needed_by(self, suite: Suite, arm: Arm, seed: int) -> Iterator[Callable[[], Run]]:
        """Makes the runs whose weights an arm needs, each of which needs those before it."""
        if arm.teacher:
            yield lambda: self.teacher_run(arm.teacher)
        if arm.distill.labels.weight > 0:
            yield lambda: self.encoder_run(arm.teacher)
        if arm.camera_teacher:
            yield lambda: self.student_run(suite, suite.arm(arm.camera_teacher), seed)

    def _has_weights(self, run: Run) -> bool:
        return run.config is None or (run.folder / TRAINED_FILE).is_file()

    def teacher_run(self, name: str) -> Run:
        """A teacher's training, or the score of given weights."""
        splits = self.given.splits
        if name in self.given.teachers:
            return _scoring(self.given.teachers[name], name, splits[REPORTED], self.given.folder)
        recipe = resource(TEACHER_RECIPE)
        config = teacher_config(load_config(recipe), str(recipe))
        roots = [shown_to_teacher(splits[TRAIN], TEACHERS[name])]
        config = replace(config, data=replace(config.data, roots=roots, validation=[splits[REPORTED].source]))
        return self._taught_first(name, TEACHER, config)

    def encoder_run(self, teacher: str) -> Run:
        """The training of the label encoder that belongs to a teacher, on the labels that the teacher has seen."""
        splits, recipe = self.given.splits, resource(ENCODER_RECIPE)
        config = label_config(load_config(recipe), str(recipe))
        roots = [shown_to_teacher(splits[TRAIN], TEACHERS[teacher])]
        data = replace(config.data, roots=roots, validation=[splits[REPORTED].source])
        weights = self.weights_of(self.teacher_run(teacher))
        config = replace(config, labels=replace(config.labels, teacher=str(weights)), data=data)
        return self._taught_first(teacher, ENCODER, config)

    def _taught_first(self, teacher: str, arm: str, config: AnyConfig) -> Run:
        """The training of what students learn from."""
        reported, schedule = self.given.splits[REPORTED], config.schedule
        return Run(
            suite=TEACHER, student="", teacher=teacher, arm=arm, seed=schedule.seed, split=REPORTED,
            source=reported.source, config=config, weights=None, steps=schedule.steps, batch=schedule.batch, start="",
            digest=training_digest(config, None, self.given.splits[TRAIN].identities), protocol=reported.identity,
            home=self.given.folder,
        )  # fmt: skip

    def student_run(self, suite: Suite, arm: Arm, seed: int) -> Run:
        """One arm of a suite with one seed."""
        splits, train = self.given.splits, self.given.splits[TRAIN]
        config, shared = self._config(suite, arm, seed), self._config(suite, Arm(""), 0)
        common = self.given.start if suite.start == Start.depth else None
        start = Path(config.cross_scale.teacher) if arm.camera_teacher else common
        return Run(
            suite=suite.name, student=suite.student, teacher=arm.teacher, arm=arm.name, seed=seed, split=suite.split,
            source=splits[suite.split].source, config=config, weights=start, steps=config.schedule.steps,
            batch=self.settings.batch, start=content_digest(start)[:DIGITS] if start else "",
            digest=training_digest(config, start, train.identities),
            protocol=training_digest(shared, common, train.identities, splits[REPORTED].identity),
            home=self.given.folder, teaches=arm.name in {other.camera_teacher for other in suite.arms},
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
        cross_scale, restarted = base.cross_scale, [*BEV_HALF, *(MEMORY if base.model.temporal.frames > 1 else ())]
        if arm.camera_teacher:
            finer = self.weights_of(self.student_run(suite, suite.arm(arm.camera_teacher), seed))
            cross_scale, restarted = CrossScaleConfig(teacher=str(finer)), []
        steps = round(settings.steps * suite.length * arm.length)
        schedule = replace(
            base.schedule,
            steps=steps, epochs=0.0, batch=settings.batch, total_batch=0, seed=seed, keep_steps=[],
            learning_rate=settings.learning_rate, warmup_steps=min(settings.warmup_steps, steps // 2),
            ema_decay=settings.ema_decay, anew=restarted if suite.start == Start.depth else [],
        )  # fmt: skip
        loss = base.loss if suite.depth_loss else replace(base.loss, depth=0.0)
        loss = replace(loss, smooth=arm.smooth, overlap=arm.overlap)
        model = base.model if arm.image is None else at_image_size(base.model, *arm.image)
        data = self._data(suite, arm)
        return replace(
            base, model=model, distill=distill, cross_scale=cross_scale, data=data, loss=loss, schedule=schedule
        )

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
            folder=str(self.teacher_run(arm.teacher).folder / PSEUDO_FOLDER),
            calibration=[kept] if kept.scenes else [],
            share=arm.unlabelled,
        )
        return replace(data, unlabelled=[others], pseudo=pseudo)


def at_image_size(model: ModelConfig, height: int, width: int) -> ModelConfig:
    """The same network for another image, in which depth bins mean the same ranges."""
    focal = model.view.depth_focal * width / model.image_width
    return replace(model, image_height=height, image_width=width, view=replace(model.view, depth_focal=focal))


def _scoring(weights: Path, teacher: str, data: Split, home: Path) -> Run:
    """The score of a teacher's existing weights."""
    schedule, digest = checkpoint_config(weights).schedule, content_digest(weights)[:DIGITS]
    return Run(
        suite=TEACHER, student="", teacher=teacher, arm=TEACHER, seed=schedule.seed, split=REPORTED,
        source=data.source, config=None, weights=weights, steps=schedule.steps, batch=schedule.batch, start=digest,
        digest=digest, protocol=data.identity, home=home,
    )  # fmt: skip
