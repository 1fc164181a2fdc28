"""Which points of a cloud of several sweeps a moving box holds: for ground-truth paste."""

import numpy as np

from kd_perception.geometry.box_geometry import offsets_in_box
from kd_perception.geometry.boxes import Boxes


def inside(points: np.ndarray, boxes: Boxes, index: int, margin: float = 0.0) -> np.ndarray:
    """(P,) bool: which points (P, 5 or more; the fifth is the age) box `index` holds, or held when they were measured.

    The box is moved back along its velocity, where that is known. `margin` metres are added on every side.
    """
    size, velocity = boxes.size[index], np.nan_to_num(boxes.velocity[index]).astype(np.float32)
    reach = np.hypot(*(size[:2] / 2.0 + margin)) + abs(float(velocity[0])) * points[:, 4].max(initial=0.0)
    near = np.flatnonzero(np.abs(points[:, 0] - np.float32(boxes.center[index, 0])) <= reach)  # most points are not
    offsets = points[near, :3] - boxes.center[index].astype(np.float32)
    offsets[:, :2] += points[near, 4:5] * velocity
    held = np.zeros(len(points), bool)
    held[near] = offsets_in_box(offsets, size, boxes.yaw[index], margin)
    return held
