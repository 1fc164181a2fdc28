"""In an update, the old student finds the objects of its classes that the new domain's labels lack.

It answers as `kd label`'s teacher does, once for every keyframe, and its answers stay in continual.lacking.folder.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.geometry.classes import ClassList
from kd_training.batches.moving import fastest_device
from kd_training.config.experiment import TrainConfig
from kd_training.config.student_spec import configured_classes
from kd_training.data.frames import Dataset
from kd_training.data.lacking_classes import found_folder, lacking_labels
from kd_training.data.pseudo_labels import PseudoLabels, scene_file, write_pseudo_labels
from kd_training.data.unlabelled_sets import open_sets
from kd_training.distill.from_old.foreground import SharedClasses
from kd_training.evaluation.student import StudentDetector
from kd_training.tasks.frozen_student import FrozenStudent
from kd_training.unlabelled.answers import AnsweringTeacher, scene_identity
from kd_training.unlabelled.labels import labels_of
from kd_training.unlabelled.thresholds import ClassThresholds, Thresholds

INDEX_FILE, ANSWERS_FOLDER = "index.json", "answers"


def find_lacking(config: TrainConfig) -> str:
    """Let the old student of an update look where labels lack its classes; what it found in a sentence, empty where
    nothing was to do.

    Raises ConfigError where the old student does not fit, DataError for what it cannot read.
    """
    settings = config.continual
    classes = configured_classes(config.model.classes, config.model.name)
    if not (settings.student and settings.lacking.boxes and lacking_labels(settings, classes)):
        return ""
    search = Search(config, classes)
    return "" if search.is_done() else search.find()


class Search:
    """The old student on the labelled sets of an update's new domain, whose student detects `classes`."""

    def __init__(self, config: TrainConfig, classes: ClassList) -> None:
        self.config, self.settings, self.classes = config, config.continual.lacking, classes
        self.old = FrozenStudent(config.continual.student)
        self.shared = SharedClasses.of(self.old.model.spec.classes, classes)
        self.data_sets = open_sets(config.data.roots, config.data, self.old.model.spec.classes)
        self.folder = Path(self.settings.folder)

    @cached_property
    def teacher(self) -> AnsweringTeacher:
        """The old student, in a teacher's place."""
        model = self.old.model.to(fastest_device())
        return AnsweringTeacher(StudentDetector(model), self.old.digest, self.folder / ANSWERS_FOLDER, cameras=True)

    def is_done(self) -> bool:
        """Whether the folder holds what this old student finds on these keyframes."""
        path = self.folder / INDEX_FILE
        files = [
            found_folder(self.config.continual) / scene_file(data_set.name, scene) for data_set, scene in self._places()
        ]
        try:
            return path.is_file() and json.loads(path.read_text()) == self._index() and all(map(Path.is_file, files))
        except ValueError:
            return False

    def find(self) -> str:
        """Look, and write the labels; returns a sentence that counts them."""
        (self.folder / INDEX_FILE).unlink(missing_ok=True)
        counts = np.zeros(len(self.classes), np.int64)
        for data_set, scene in self._places():
            answers = self.teacher.answers(data_set, scene, lambda: None)
            labels = {token: self._moved(entry) for token, entry in labels_of(answers, self._thresholds()).items()}
            write_pseudo_labels(found_folder(self.config.continual) / scene_file(data_set.name, scene), labels)
            for entry in labels.values():
                counts += np.bincount(entry.boxes.label, minlength=len(counts))
        write_text(self.folder / INDEX_FILE, json.dumps(self._index(), indent=1))
        found = ", ".join(f"{counts[label]} {self.classes.names[label]}" for label in self._lacking())
        return f"classes that the new domain's labels lack, as the old student found them: {found}"

    def _moved(self, entry: PseudoLabels) -> PseudoLabels:
        """Its answers by the new student's labels; classes that nobody knows are in doubt everywhere."""
        doubt, unknown = entry.doubt, np.setdiff1d(self._lacking(), self.shared.label)
        return PseudoLabels(
            replace(entry.boxes, label=self.shared.label[entry.boxes.label], classes=self.classes),
            replace(doubt, label=self.shared.label[doubt.label], everywhere=unknown.astype(np.int64)),
        )

    def _lacking(self) -> tuple[int, ...]:
        return lacking_labels(self.config.continual, self.classes)

    def _places(self) -> Iterator[tuple[Dataset, str]]:
        return ((data_set, scene) for data_set in self.data_sets for scene in data_set.scenes)

    def _thresholds(self) -> Thresholds:
        settings = self.settings
        entry = ClassThresholds(settings.low, settings.confident, settings.sure)
        return Thresholds(self.old.digest, settings.tracked, dict.fromkeys(self.old.model.spec.classes.names, entry))

    def _index(self) -> dict[str, object]:
        """What the labels depend on."""
        settings = self.settings
        return {
            "old": self.old.digest,
            "classes": list(self.classes.names),
            "lacking": list(self._lacking()),
            "settings": [settings.low, settings.confident, settings.sure, settings.tracked],
            "scenes": [scene_identity(*place, self.old.digest, cameras=True) for place in self._places()],
        }
