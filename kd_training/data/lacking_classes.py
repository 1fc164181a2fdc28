"""Classes of a student that a data set's annotations do not have: they are in doubt there, or somebody else finds them.

So a student that learns new classes does not hear that its old ones are gone, where labels only name the new.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_training.config.continual import ContinualConfig
from kd_training.data.doubt import DoubtfulCells
from kd_training.data.frame_facts import FrameFacts
from kd_training.data.pseudo_labels import PseudoLabelFolder, PseudoLabels

FOUND_FOLDER = "labels"  # in continual.lacking.folder


@dataclass(frozen=True)
class LackingClasses:
    """Labels of the classes, not none; `found`: who looked for them, and keeps the answers."""

    labels: tuple[int, ...]
    found: PseudoLabelFolder | None = None

    def fact(self, facts: FrameFacts) -> FrameFacts:
        """Facts of a keyframe that tell of none of these classes, for its annotations may have them after all."""
        present = facts.present.copy()
        present[list(self.labels)] = False
        return replace(facts, present=present, labelled=False)

    def found_in(self, data_set: str, scene: str, sample: str) -> PseudoLabels | None:
        """What was found in a keyframe; None where nobody looked. Raises as PseudoLabelFolder.of."""
        return None if self.found is None else self.found.of(data_set, scene)[sample]

    def complete(self, boxes: Boxes, found: PseudoLabels | None) -> tuple[Boxes, DoubtfulCells]:
        """Annotated boxes without those of these classes, with what was found of them; and what is in doubt.

        An annotated object is not found once more, under another class.
        """
        labels = np.array(self.labels, np.int64)
        counted = boxes[~np.isin(boxes.label, labels)]
        if found is None:
            return counted, DoubtfulCells(np.zeros((0, 2)), np.zeros(0, np.int64), 1.0, labels)
        others = found.boxes[np.isin(found.boxes.label, labels)]
        others = others[~_same_place(others, counted)]
        return Boxes.concatenate([counted, others]), found.doubt.within(labels)


def lacking_labels(config: ContinualConfig, classes: ClassList) -> tuple[int, ...]:
    """Labels of the classes next to continual.labelled; none where that names none. Raises ConfigError for no class."""
    for name in config.labelled:
        if name not in classes.names:
            raise ConfigError(
                f"continual.labelled names '{name}', which is no class; they are {', '.join(classes.names)}"
            )
    return tuple(label for label, name in enumerate(classes.names) if config.labelled and name not in config.labelled)


def lacking_classes(config: ContinualConfig, classes: ClassList) -> LackingClasses | None:
    """What the annotations of an update's new domain lack; None where nothing."""
    labels = lacking_labels(config, classes)
    if not labels:
        return None
    return LackingClasses(labels, PseudoLabelFolder(found_folder(config), classes) if config.lacking.boxes else None)


def found_folder(config: ContinualConfig) -> Path:
    """Where the labels of what the old student finds lie."""
    return Path(config.lacking.folder) / FOUND_FOLDER


def _same_place(boxes: Boxes, others: Boxes) -> np.ndarray:
    """Which boxes (N,) have their centre within half the width of one of the `others`, from above."""
    apart = np.linalg.norm(boxes.center[:, None, :2] - others.center[None, :, :2], axis=2)
    return (apart < others.size[None, :, 1] / 2.0).any(axis=1)
