"""When two computations of the same frame agree: raw outputs within rounding, boxes within a centimetre."""

from collections.abc import Mapping

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import wrap_angle

RAW_TOLERANCE = 1e-3  # of max(1, |reference|)
POSITION_TOLERANCE, YAW_TOLERANCE, SCORE_TOLERANCE = 0.01, np.radians(0.1), 0.005  # metres, radians, -


def raw_errors(outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Largest |difference| / max(1, |reference|) of each output; infinite if anything is not finite."""
    result = {}
    for key, reference in expected.items():
        error = np.abs(outputs[key] - reference) / np.maximum(1.0, np.abs(reference))
        result[key] = float(error.max()) if np.isfinite(error).all() else np.inf
    return result


def have_partner(boxes: Boxes, candidates: Boxes) -> np.ndarray:
    """Which of `boxes` (N,) have a candidate of the same class within the position, yaw and score tolerances."""
    position = np.linalg.norm(boxes.center[:, None] - candidates.center[None], axis=-1) <= POSITION_TOLERANCE
    yaw = np.abs(wrap_angle(boxes.yaw[:, None] - candidates.yaw[None])) <= YAW_TOLERANCE
    score = np.abs(boxes.score[:, None] - candidates.score[None]) <= SCORE_TOLERANCE
    return (position & yaw & score & (boxes.label[:, None] == candidates.label[None])).any(axis=1)
