"""Do boxes overlap on the ground, and which points lie in a box: for ground-truth paste."""

import numpy as np

from kd_perception.geometry.boxes import Boxes


def overlap(boxes: Boxes, other: Boxes) -> np.ndarray:
    """(N, M) bool: whether the rectangles of `boxes` (N) and `other` (M) on the ground share more than an edge.

    Two rectangles are apart if and only if they are apart along an axis of one of them (separating axes).
    """
    apart = np.zeros((len(boxes), len(other)), bool)
    offset = other.center[None, :, :2] - boxes.center[:, None, :2]
    for yaw in (np.broadcast_to(boxes.yaw[:, None], apart.shape), np.broadcast_to(other.yaw[None], apart.shape)):
        for turn in (0.0, np.pi / 2.0):
            axis = np.stack([np.cos(yaw + turn), np.sin(yaw + turn)], axis=-1)
            reach = _reach(boxes, axis.transpose(1, 0, 2)).T + _reach(other, axis)
            apart |= np.abs((offset * axis).sum(-1)) >= reach
    return ~apart


def inside(points: np.ndarray, boxes: Boxes, index: int, margin: float = 0.0) -> np.ndarray:
    """(P,) bool: which points (P, 5 or more; the fifth is the age) box `index` holds, or held when they were measured:
    it is moved back along its velocity, where that is known. `margin` metres are added on every side."""
    velocity = np.nan_to_num(boxes.velocity[index]).astype(np.float32)
    half = boxes.size[index] / 2.0 + margin
    reach = np.hypot(half[0], half[1]) + abs(float(velocity[0])) * points[:, 4].max(initial=0.0)
    near = np.flatnonzero(np.abs(points[:, 0] - np.float32(boxes.center[index, 0])) <= reach)  # most points are not
    delta = points[near, :3] - boxes.center[index].astype(np.float32)
    delta[:, :2] += points[near, 4:5] * velocity
    cos, sin = np.cos(boxes.yaw[index]), np.sin(boxes.yaw[index])
    local = np.abs(
        np.stack([cos * delta[:, 0] + sin * delta[:, 1], cos * delta[:, 1] - sin * delta[:, 0], delta[:, 2]])
    )
    held = np.zeros(len(points), bool)
    held[near] = (local <= half[:, None]).all(axis=0)
    return held


def _reach(boxes: Boxes, axis: np.ndarray) -> np.ndarray:
    """(K, N) half extents of N boxes along axes (K, N, 2)."""
    heading = np.stack([np.cos(boxes.yaw), np.sin(boxes.yaw)], axis=1)
    along = np.abs((axis * heading).sum(-1))
    across = np.abs(axis[..., 0] * -heading[:, 1] + axis[..., 1] * heading[:, 0])
    return along * boxes.size[:, 0] / 2.0 + across * boxes.size[:, 1] / 2.0
