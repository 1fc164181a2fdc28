"""`kd label`: a teacher labels the keyframes of data.unlabelled, once and before training.

Its answers and labels stay in data.pseudo.folder, a file a scene: interrupted, it goes on where it stopped.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.atomic import write_text
from kd_perception.datasets.identities import label_digest
from kd_perception.datasets.nuscenes import scene_samples
from kd_perception.errors import ConfigError, DataError
from kd_training.batches.moving import fastest_device
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.experiment import TrainConfig, teacher_config
from kd_training.config.student_spec import configured_classes
from kd_training.data.frame_checks import check_clouds
from kd_training.data.frames import Dataset, KeyFrames
from kd_training.data.pseudo_labels import PseudoLabels, scene_file, write_pseudo_labels
from kd_training.data.unlabelled_sets import LABELS_FOLDER, check_apart, open_sets
from kd_training.evaluation.teacher import TeacherDetector
from kd_training.tasks.frozen_teacher import FrozenTeacher
from kd_training.unlabelled.answers import AnsweringTeacher, SceneAnswers, scene_identity
from kd_training.unlabelled.calibration import calibrate, default_thresholds, warnings_of
from kd_training.unlabelled.judging import JudgedAnswers, judge
from kd_training.unlabelled.labels import labels_of
from kd_training.unlabelled.thresholds import THRESHOLDS_FILE, Thresholds, read_thresholds, write_thresholds

INDEX_FILE, ANSWERS_FOLDER = "index.json", "answers"
ABSENT = "the teacher is sure of none on the unlabelled scenes, so all of it is in doubt there"


@dataclass(frozen=True)
class Labelled:
    """What was labelled: thresholds, boxes of each class (classes,) on so many keyframes, and sentences of warning."""

    thresholds: Thresholds
    boxes: np.ndarray
    keyframes: int
    warnings: tuple[str, ...]

    def sentences(self) -> Iterator[str]:
        """What to say about it."""
        yield f"the teacher labelled {self.boxes.sum()} boxes on {self.keyframes} keyframes"
        yield from self.warnings


class Labelling:
    """The labelling that a student's configuration asks for. Raises ConfigError or DataError where teacher, labelled
    and unlabelled sets do not fit together."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.settings = config, config.data.pseudo
        self.folder, self.classes = (
            Path(self.settings.folder),
            configured_classes(config.model.classes, config.model.name),
        )
        self.unlabelled = open_sets(config.data.unlabelled, config.data, self.classes)
        check_apart(open_sets(config.data.roots, config.data, self.classes), self.unlabelled)
        check_clouds(KeyFrames(self.unlabelled), "data.unlabelled")
        sources = [] if self.settings.thresholds else self.settings.calibration or config.data.roots
        self.calibration = open_sets(sources, config.data, self.classes)
        check_apart(self.calibration, self.unlabelled)

    @cached_property
    def teacher(self) -> AnsweringTeacher:
        """The teacher of distill.teacher."""
        if not self.config.distill.teacher:
            raise ConfigError(
                "data.unlabelled has scenes for a teacher to label, but distill.teacher names none; give its weights"
            )
        frozen = FrozenTeacher(Path(self.config.distill.teacher))
        if frozen.model.classes != self.classes:
            never = [name for name in self.classes.names if name not in frozen.model.classes.names]
            lacking = f" and never learnt {', '.join(never)}" if never else ""
            raise ConfigError(
                f"teacher {frozen.model.config.name} has the classes {', '.join(frozen.model.classes.names)}{lacking}; "
                f"the student has {', '.join(self.classes.names)}: a teacher labels for students of its own class list"
            )
        model = frozen.model.to(fastest_device())
        return AnsweringTeacher(TeacherDetector(model), frozen.digest, self.folder / ANSWERS_FOLDER)

    def check_folder(self) -> dict[str, object]:
        """What the folder's labels were made of, nothing without any; ConfigError if another teacher made them."""
        path = self.folder / INDEX_FILE
        try:
            found = json.loads(path.read_text()) if path.is_file() else {}
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); delete it and run kd label again") from error
        if found and found.get("teacher") != self.teacher.digest:
            raise ConfigError(
                f"{self.folder} holds labels of another teacher than distill.teacher {self.config.distill.teacher}; "
                "give another data.pseudo.folder, or delete that one"
            )
        return found

    def is_done(self) -> bool:
        """Whether the folder has these labels; raises as check_folder."""
        found = self.check_folder()
        files = [scene_file(data_set.name, scene) for data_set, scene in _places(self.unlabelled)]
        there = all((self.folder / LABELS_FOLDER / name).is_file() for name in files)
        return there and found == self._index()

    def label(self) -> Labelled:
        """Label every unlabelled scene; shows its progress. Raises DataError if the teacher is sure of nothing."""
        self._answer_all()
        thresholds = self._thresholds()
        counts, keyframes = np.zeros(len(self.classes), np.int64), 0
        for _, scene in self._labels(thresholds):
            found = np.concatenate([entry.boxes.label for entry in scene.values()])
            counts, keyframes = counts + np.bincount(found, minlength=len(counts)), keyframes + len(scene)
        self._check_found(counts)
        thresholds = thresholds.with_untrusted(np.flatnonzero(thresholds.trusted & (counts == 0)), ABSENT)
        for name, scene in self._labels(thresholds):
            write_pseudo_labels(self.folder / LABELS_FOLDER / name, scene)
        write_thresholds(self.folder / THRESHOLDS_FILE, thresholds)
        write_text(self.folder / INDEX_FILE, json.dumps(self._index(), indent=1))
        return Labelled(thresholds, counts, keyframes, (*self._learnt_on_these(), *warnings_of(thresholds)))

    def judged_calibration(self) -> JudgedAnswers | None:
        """The answers on the scenes that calibrate the teacher against their labels; None without any."""
        return judge(self._answers(self.calibration), self.classes) if self.calibration else None

    def judged_unlabelled(self) -> JudgedAnswers:
        """The answers on the unlabelled scenes against the labels that their tables have after all: for experiments."""
        return judge(self._answers(self.unlabelled), self.classes)

    def _answer_all(self) -> None:
        """Let the teacher answer where it has not yet."""
        sets = [*self.calibration, *self.unlabelled]
        columns = (TextColumn("the teacher answers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True) as bars:
            task = bars.add_task("", total=sum(len(data_set.frames) for data_set in sets))
            for data_set, scene in _places(sets):
                self.teacher.answers(data_set, scene, lambda: bars.advance(task))

    def _answers(self, sets: Sequence[Dataset]) -> Iterator[tuple[Dataset, SceneAnswers]]:
        """Kept answers, scene by scene."""
        for data_set, scene in _places(sets):
            yield data_set, self.teacher.answers(data_set, scene, lambda: None)

    def _labels(self, thresholds: Thresholds) -> Iterator[tuple[str, Mapping[str, PseudoLabels]]]:
        """Of the unlabelled scenes: the file's name, and labels by sample."""
        for place, (_, answers) in zip(_places(self.unlabelled), self._answers(self.unlabelled), strict=True):
            yield scene_file(place[0].name, place[1]), labels_of(answers, thresholds)

    def _thresholds(self) -> Thresholds:
        """Given ones, calibrated ones, or without a label the defaults."""
        digest = self.teacher.digest
        if self.settings.thresholds:
            return read_thresholds(Path(self.settings.thresholds), digest, self.classes)
        judged = self.judged_calibration()
        if judged is None:
            return default_thresholds(digest, self.classes, self.settings.tracked)
        return calibrate(judged, digest, self.settings)

    def _check_found(self, counts: np.ndarray) -> None:
        if counts.any():
            return
        scores = [
            k.boxes.score.max(initial=0.0) for _, scene in self._answers(self.unlabelled) for k in scene.keyframes
        ]
        raise DataError(
            f"the teacher {self.config.distill.teacher} is sure of nothing on data.unlabelled (best score "
            f"{max(scores):.2f}): it may have learnt too little, or other sensors; lower data.pseudo.precision, or "
            "take another teacher"
        )

    def _learnt_on_these(self) -> Iterator[str]:
        """A sentence if the teacher was trained on the scenes that it is calibrated on."""
        roots = teacher_config(checkpoint_config(Path(self.config.distill.teacher)), "distill.teacher").data.roots
        for data_set in self.calibration:
            for root in roots:
                same = Path(root.root).resolve() == Path(data_set.nusc.dataroot).resolve()
                if same and (not root.scenes or set(root.scenes) & set(data_set.scenes)):
                    yield (
                        f"the teacher was trained on scenes of {data_set.name} that calibrate it: its precision looks "
                        "better there than it is; hold scenes back from it and name them in data.pseudo.calibration"
                    )

    def _index(self) -> dict[str, object]:
        """What the labels depend on."""
        settings = self.settings
        given = Path(settings.thresholds)
        return {
            "teacher": self.teacher.digest,
            "thresholds": sha256(given.read_bytes()).hexdigest() if settings.thresholds and given.is_file() else "",
            "settings": [settings.precision, settings.recall, settings.tracked],
            "calibration": self._identities(self.calibration),
            "truth": [
                label_digest(each.nusc, scene_samples(each.nusc, scene)) for each, scene in _places(self.calibration)
            ],
            "unlabelled": self._identities(self.unlabelled),
        }

    def _identities(self, sets: Sequence[Dataset]) -> list[str]:
        return [scene_identity(*place, self.teacher.digest) for place in _places(sets)]


def label_missing(config: TrainConfig) -> Labelled | None:
    """Label data.unlabelled where the folder does not have these labels yet; None where nothing was to do.

    Without distill.teacher the folder's labels are taken as they are.
    """
    if not config.data.unlabelled or not config.distill.teacher:
        return None
    labelling = Labelling(config)
    return None if labelling.is_done() else labelling.label()


def _places(sets: Sequence[Dataset]) -> list[tuple[Dataset, str]]:
    return [(data_set, scene) for data_set in sets for scene in data_set.scenes]
