"""From lessons to runs: which configuration each step of an arm has, and which run it goes on from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kd_bench.continual.arms import FIRST, Lesson
from kd_bench.continual.domains import BUFFER_SHARE, Domain, DomainSequence
from kd_bench.continual.records import DomainRecord
from kd_bench.continual.run import DomainRun
from kd_bench.ledger.digests import content_digest, training_digest
from kd_bench.ledger.splits import Split
from kd_bench.ledger.worker import TRAINED_FILE
from kd_perception.geometry.classes import CLASSES, NUSCENES, ClassList
from kd_training.config.continual import ContinualConfig
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import DataRoot, StudentScheduleConfig

BEV_HALF, MEMORY = ["encoder", "head"], ["fusion", "motion"]  # parts that start from the seed
CALIBRATION_SCENES = 8  # of the first domain
OLD_STUDENT = "the run before"  # in place of its file, which has another name on every machine

Made = TypeVar("Made")


@dataclass(frozen=True)
class LearningSettings:
    """What all arms share: steps and rates of the first domain's student, and of an update."""

    steps: int = 800
    update_steps: int = 160
    batch: int = 8
    learning_rate: float = 2e-3
    update_rate: float = 5e-4
    warmup_steps: int = 40
    ema_decay: float = 0.99


@dataclass(frozen=True)
class LearningInputs:
    """What is given.

    Splits by name; `recipe`: the student's configuration, its `distill:` is the LiDAR teacher's part in an update;
    `known`: weights of a student of that architecture, which has learnt all classes in other scenes of the first
    domain; `start`: weights whose image half was trained on depth alone, for sequences of classes; `teacher`: weights;
    `folder`: holds a folder for each run.
    """

    student: str
    splits: Mapping[str, Split]
    recipe: TrainConfig
    known: Path
    start: Path
    teacher: Path
    folder: Path


@dataclass(frozen=True)
class LearningPlanner:
    """Makes runs of lessons; `made` keeps them, and the digests of protocols: hashing a configuration takes a while."""

    settings: LearningSettings
    inputs: LearningInputs
    made: dict[tuple, Any] = field(default_factory=dict, repr=False, compare=False)

    def runs(self, lessons: Iterable[Lesson], records: Sequence[DomainRecord]) -> Iterator[DomainRun]:
        """Every run in order, each once. What follows a run that is yet to end is left out until `records` has it."""
        seen: set[str] = set()
        known = {record.key for record in records}
        for lesson in lessons:
            for run in self.chain(lesson):
                if run.key not in seen:
                    seen.add(run.key)
                    yield run
                if run.key not in known or not (run.folder / TRAINED_FILE).is_file():
                    break

    def chain(self, lesson: Lesson) -> Iterator[DomainRun]:
        """The runs of a lesson, each of which needs the one before."""
        sequence, seed = lesson.sequence.name, lesson.seed
        if lesson.arm.joint:
            yield self._once((sequence, lesson.arm.name, seed), lambda: self._joint(lesson))
            return
        before = self._once((sequence, FIRST, seed), lambda: self._first(lesson))
        yield before
        for step in range(1, len(lesson.sequence.domains)):
            make = partial(self._update, lesson, step, before)
            before = self._once((sequence, lesson.arm.name, seed, step), make)
            yield before

    def _once(self, key: tuple, make: Callable[[], Made]) -> Made:
        """What `make` gives, made once."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def _first(self, lesson: Lesson) -> DomainRun:
        """The student of the first domain: the known one, or trained where that knows too many classes."""
        config = self._plain_training(lesson.seed, lesson.sequence.domains[:1], self.settings.steps)
        return replace(self._run(lesson, 0, config, None), is_known=is_known(lesson.sequence))

    def _joint(self, lesson: Lesson) -> DomainRun:
        """All domains at once.

        The known student goes on, and sees each keyframe as often as fine-tuning does; one that is trained sees each as
        often as the first student saw its own.
        """
        sequence, settings = lesson.sequence, self.settings
        keyframes = [domain.keyframes(self._split(domain.world.train_name)) for domain in sequence.domains]
        known = is_known(sequence)
        steps = settings.update_steps / keyframes[-1] if known else settings.steps / keyframes[0]
        config = self._plain_training(lesson.seed, sequence.domains, round(steps * sum(keyframes)))
        if known:
            config = replace(config, schedule=self._going_on(config.schedule))
        return self._run(lesson, len(keyframes) - 1, config, None)

    def _going_on(self, schedule: StudentScheduleConfig) -> StudentScheduleConfig:
        """A schedule for weights that know something already."""
        return replace(schedule, learning_rate=self.settings.update_rate, anew=[])

    def _plain_training(self, seed: int, domains: Sequence[Domain], steps: int) -> TrainConfig:
        """A student of domains, whose classes it knows."""
        recipe, settings = self.inputs.recipe, self.settings
        anew = [*BEV_HALF, *(MEMORY if recipe.model.temporal.frames > 1 else ())]
        schedule = replace(
            recipe.schedule, steps=steps, epochs=0.0, batch=settings.batch, total_batch=0, seed=seed, keep_steps=[],
            learning_rate=settings.learning_rate, warmup_steps=min(settings.warmup_steps, steps // 2),
            ema_decay=settings.ema_decay, anew=anew,
        )  # fmt: skip
        data = replace(recipe.data, roots=self._sources(domains), validation=[])
        return replace(
            recipe, model=replace(recipe.model, classes=class_section(domains)), distill=DistillConfig(), data=data,
            schedule=schedule, continual=ContinualConfig(domain=domains[-1].name),
        )  # fmt: skip

    def _update(self, lesson: Lesson, step: int, before: DomainRun) -> DomainRun:
        """A student that learns one more domain."""
        sequence, settings, arm = lesson.sequence, self.settings, lesson.arm
        domain, known = sequence.domains[step], sequence.domains[: step + 1]
        config = self._plain_training(lesson.seed, known, settings.update_steps)
        schedule = self._going_on(config.schedule)
        buffer = replace(arm.update.buffer, keyframes=self.buffer_size(sequence), seed=lesson.seed)
        labelled = [] if domain.classes == CLASSES else list(domain.classes)
        update = replace(arm.update, domain=domain.name, labelled=labelled, buffer=buffer)
        data = replace(config.data, roots=self._sources([domain]))
        taught = arm.lidar or not arm.human
        if not arm.human:
            pseudo = replace(data.pseudo, calibration=[self._calibration(sequence.domains[0])])
            data = replace(data, roots=[], unlabelled=data.roots, pseudo=pseudo)
        distill = replace(self.inputs.recipe.distill, teacher=str(self.inputs.teacher), inherit_head=False)
        config = replace(
            config, distill=distill if taught else DistillConfig(), data=data, schedule=schedule, continual=update
        )
        return self._run(lesson, step, config, before)

    def _run(self, lesson: Lesson, step: int, config: TrainConfig, before: DomainRun | None) -> DomainRun:
        sequence, start = lesson.sequence, None if before else self._start(lesson.sequence)
        name = lesson.arm.name if before or lesson.arm.joint else FIRST
        replays = lesson.arm.replays and before is not None
        named = replace(config, continual=replace(config.continual, student=OLD_STUDENT if before else ""))
        further = (before.digest, "replays" if replays else "") if before else ()
        return DomainRun(
            sequence=sequence.name, student=self.inputs.student, arm=name, seed=lesson.seed, step=step,
            domain=sequence.domains[step].name, config=config, weights=start, before=before,
            held_out={world.held_out_name: self._split(world.held_out_name).source for world in sequence.worlds},
            digest=training_digest(named, start, self._identities, *further),
            protocol=self._once((sequence.name,), lambda: self.protocol(sequence)), home=self.inputs.folder,
            needed=not lesson.arm.joint and step < len(sequence.domains) - 1, replays=replays,
        )  # fmt: skip

    def protocol(self, sequence: DomainSequence) -> str:
        """A digest of what the arms of a sequence share: data, start, teacher, steps and rates."""
        config = self._plain_training(0, sequence.domains, self.settings.steps)
        worlds = [self._split(name).identity for world in sequence.worlds for name in world.plans]
        shared = (str(self.settings), content_digest(self.inputs.teacher), *worlds)
        return training_digest(config, self._start(sequence), self._identities, *shared)

    def _start(self, sequence: DomainSequence) -> Path:
        """Weights that a sequence begins with."""
        return self.inputs.known if is_known(sequence) else self.inputs.start

    def buffer_size(self, sequence: DomainSequence) -> int:
        """Keyframes that a buffer may hold."""
        return max(2, round(BUFFER_SHARE * sequence.keyframes(self.inputs.splits)))

    def _calibration(self, first: Domain) -> DataRoot:
        """Some labelled scenes of the first domain: they say how far the teacher's answers are to be trusted."""
        source, scenes = self._sources([first])[0], self._split(first.world.train_name).scenes
        return replace(source, scenes=list(source.scenes or scenes)[:CALIBRATION_SCENES])

    def _sources(self, domains: Sequence[Domain]) -> list[DataRoot]:
        return [domain.source(self._split(domain.world.train_name)) for domain in domains]

    def _split(self, name: str) -> Split:
        return self.inputs.splits[name]

    @property
    def _identities(self) -> dict[str, str]:
        return {root: name for split in self.inputs.splits.values() for root, name in split.identities.items()}


def is_known(sequence: DomainSequence) -> bool:
    """Whether a student that knows all classes may begin the sequence."""
    return all(domain.classes == CLASSES for domain in sequence.domains)


def class_section(domains: Sequence[Domain]) -> dict[str, Any]:
    """The class list of domains as a configuration has it, in the groups of nuScenes' classes; empty: all of those."""
    known = {name for domain in domains for name in domain.classes}
    if known == set(NUSCENES.names):
        return {}
    kept = [replace(group, classes=tuple(c for c in group.classes if c.name in known)) for group in NUSCENES.groups]
    return msgspec.to_builtins(ClassList(tuple(group for group in kept if group.classes)))
