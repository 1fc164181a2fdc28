"""How unsure a student is of keyframes: what its replay buffer keeps them by."""

from collections.abc import Sequence

import numpy as np

from kd_training.data.frames import TrainingFrame
from kd_training.evaluation.student import StudentDetector
from kd_training.models.students.camera_student import CameraStudent

SEEN = 0.1  # least probability of a cell that may be an object


def uncertainties(model: CameraStudent, frames: Sequence[TrainingFrame]) -> np.ndarray:
    """Of each keyframe (F,), from 0 to 1; raises DataError naming a file that is missing or damaged."""
    detector = StudentDetector(model)
    return np.array([uncertainty(detector.outputs(frame)[0], boxes=len(frame.boxes)) for frame in frames])


def uncertainty(heatmap: np.ndarray, *, boxes: int) -> float:
    """Mean binary entropy, in bits, of a heatmap (classes, rows, columns) where it may show an object.

    A keyframe that shows none is sure, but 1 where its labels have `boxes`.
    """
    seen = heatmap[heatmap >= SEEN].astype(float)
    if not len(seen):
        return 1.0 if boxes else 0.0
    sure = np.clip(np.stack([seen, 1.0 - seen]), 1e-9, 1.0)
    return float(-(sure * np.log2(sure)).sum(axis=0).mean())
