"""From a teacher's answers on a scene to its labels: what is truth, what is in doubt."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_training.data.doubt import DoubtfulCells
from kd_training.data.label_checks import without_contradictions
from kd_training.data.pseudo_labels import PseudoLabels
from kd_training.unlabelled.answers import KeyframeAnswer, SceneAnswers
from kd_training.unlabelled.judging import tracks_of
from kd_training.unlabelled.thresholds import Thresholds
from kd_training.unlabelled.tracks import TrackedBoxes


def labels_of(answers: SceneAnswers, thresholds: Thresholds) -> Mapping[str, PseudoLabels]:
    """Labels of a scene's keyframes by sample token."""
    return {
        entry.sample: PseudoLabels(_truth(entry, tracked, thresholds), _doubt(entry, answers.grid, thresholds))
        for entry, tracked in zip(answers.keyframes, tracks_of(answers), strict=True)
    }


def _truth(entry: KeyframeAnswer, tracked: TrackedBoxes, thresholds: Thresholds) -> Boxes:
    """The boxes that count as truth; a velocity is the track's where tracks know better, unknown without a track.

    Of one object under two classes the surer stays; the other class is in doubt there, as all that is not truth.
    """
    in_ego = tracked.velocity @ entry.global_from_ego[:2, :2]
    better = thresholds.velocity_from_track[entry.boxes.label]
    boxes = replace(entry.boxes, velocity=np.where(better[:, None], in_ego, entry.boxes.velocity))
    return without_contradictions(boxes[thresholds.accepts(boxes, tracked.length)])


def _doubt(entry: KeyframeAnswer, grid: BevGrid, thresholds: Thresholds) -> DoubtfulCells:
    """Cells from the class's `low` on, with their neighbours; those around truth are taken out when targets are made,
    for they must be known whatever the augmentation."""
    label, row, column = entry.cells[entry.values >= thresholds.low[entry.cells[:, 0]]].T.astype(np.int64)
    rows, columns = grid.shape
    mask = np.zeros((len(thresholds.low), rows + 2, columns + 2), bool)
    for down in range(3):
        for right in range(3):
            mask[label, row + down, column + right] = True
    mask[~thresholds.trusted] = False
    label, row, column = np.nonzero(mask[:, 1:-1, 1:-1])
    xy = grid.to_metres(np.stack([column + 0.5, row + 0.5], axis=1))
    return DoubtfulCells(xy, label, grid.cell_size, np.flatnonzero(~thresholds.trusted))
