"""Which boxes of a scene belong to one object: nearest neighbours in time, predicted by velocity forwards and backwards
(as CenterPoint tracks, arXiv:2006.11275).

All boxes are in global, where what stands still stays.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kd_perception.geometry.boxes import Boxes

LINK_M = 2.0  # metres between predicted and found centre at most
LONGEST_GAP_S = 1.1  # keyframes further apart are not linked


class TrackedBoxes(NamedTuple):
    """Of N boxes of a keyframe: length (N,), how many keyframes their track has; velocity (N, 2) in global, metres per
    second, from the centres before and after; NaN where the track has one keyframe."""

    length: np.ndarray
    velocity: np.ndarray


def track(keyframes: Sequence[Boxes], stamps_us: Sequence[int]) -> list[TrackedBoxes]:
    """Link the boxes of a scene's keyframes, in time order; boxes of a class only link to their own."""
    after = [np.full(len(boxes), -1) for boxes in keyframes]
    before = [np.full(len(boxes), -1) for boxes in keyframes]
    for k in range(len(keyframes) - 1):
        seconds = (stamps_us[k + 1] - stamps_us[k]) / 1e6
        if 0.0 < seconds <= LONGEST_GAP_S:
            earlier, later = link(keyframes[k], keyframes[k + 1], seconds)
            after[k][earlier], before[k + 1][later] = later, earlier
    past, future = _lengths(before, range(len(before))), _lengths(after, reversed(range(len(after))))
    velocities = _velocities(keyframes, stamps_us, before, after)
    return [TrackedBoxes(past[k] + future[k] - 1, velocities[k]) for k in range(len(keyframes))]


def link(earlier: Boxes, later: Boxes, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (M,) of the boxes that are each other's nearest, at most LINK_M apart.

    The distance is the smaller of two: the earlier box moved on by its velocity, the later one moved back by its own.
    """
    if not len(earlier) or not len(later):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    apart = later.center[None, :, :2] - earlier.center[:, None, :2]
    ahead = np.linalg.norm(apart - seconds * np.nan_to_num(earlier.velocity)[:, None], axis=-1)
    back = np.linalg.norm(apart - seconds * np.nan_to_num(later.velocity)[None], axis=-1)
    distance = np.where(earlier.label[:, None] == later.label[None], np.minimum(ahead, back), np.inf)
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == np.arange(len(earlier))
    linked = np.flatnonzero(mutual & (distance[np.arange(len(earlier)), nearest] <= LINK_M))
    return linked, nearest[linked]


def _lengths(links: Sequence[np.ndarray], order: Sequence[int] | reversed) -> list[np.ndarray]:
    """How many keyframes each box's track has up to its own, along `links` to the keyframe that comes before in
    `order`."""
    lengths: list[np.ndarray] = [np.ones(len(entry), np.int64) for entry in links]
    previous = None
    for k in order:
        if previous is not None:
            linked = links[k] >= 0
            lengths[k][linked] += lengths[previous][links[k][linked]]
        previous = k
    return lengths


def _velocities(
    keyframes: Sequence[Boxes], stamps_us: Sequence[int], before: Sequence[np.ndarray], after: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Velocities (N, 2) by the difference of the neighbours' centres, or of the own and the only neighbour's."""
    velocities = []
    for k, boxes in enumerate(keyframes):
        first, last = boxes.center[:, :2].copy(), boxes.center[:, :2].copy()
        begin, end = (np.full(len(boxes), float(stamps_us[k])) for _ in range(2))
        for links, centre, stamp, other in ((before[k], first, begin, k - 1), (after[k], last, end, k + 1)):
            linked = links >= 0
            if linked.any():
                centre[linked] = keyframes[other].center[links[linked], :2]
                stamp[linked] = stamps_us[other]
        seconds = np.where(end > begin, (end - begin) / 1e6, np.nan)
        velocities.append((last - first) / seconds[:, None])
    return velocities
