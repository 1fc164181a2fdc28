"""Which rectangles on the ground come close to each other, and which points a box holds."""

from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.boxes import Boxes


@dataclass(frozen=True, eq=False)
class Rectangles:
    """Rectangles on the ground, of any leading shape.

    center (..., 2) metres; size (..., 2) length and width in metres; yaw (...) radians, counter-clockwise from +x.
    """

    center: np.ndarray
    size: np.ndarray
    yaw: np.ndarray

    @staticmethod
    def of(boxes: Boxes) -> "Rectangles":
        """The outlines (N) of boxes, seen from above."""
        return Rectangles(boxes.center[:, :2], boxes.size[:, :2], boxes.yaw)

    def __getitem__(self, index: object) -> "Rectangles":
        """The rectangles that a NumPy index selects, or with new axes inserted."""
        whole = (index if isinstance(index, tuple) else (index,)) + (..., slice(None))
        return Rectangles(self.center[whole], self.size[whole], self.yaw[index])

    def broadcast(self, shape: tuple[int, ...]) -> "Rectangles":
        """The same rectangles repeated to a leading shape."""
        center, size = (np.broadcast_to(values, (*shape, 2)) for values in (self.center, self.size))
        return Rectangles(center, size, np.broadcast_to(self.yaw, shape))

    def diagonals(self) -> np.ndarray:
        """Metres (...) from corner to corner."""
        return np.hypot(self.size[..., 0], self.size[..., 1])

    def axes(self) -> np.ndarray:
        """Unit vectors (..., 2, 2) along the length and along the width."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.stack([cos, sin, -sin, cos], axis=-1).reshape(*self.yaw.shape, 2, 2)


def rectangles_overlap(first: Rectangles, second: Rectangles, margin: float = 0.0) -> np.ndarray:
    """(...) bool: whether rectangles share more than an edge, or come closer than `margin` metres.

    The leading shapes broadcast against each other: `first[:, None]` and `second[None]` give all pairs. Two rectangles
    are apart if and only if they are apart along an axis of one of them (separating axes); with a margin the corners
    of both count as square.
    """
    reach = (first.diagonals() + second.diagonals()) / 2.0 + margin
    offset = second.center - first.center
    near = np.asarray(np.einsum("...i,...i->...", offset, offset) < reach**2)
    overlapping = np.zeros(near.shape, bool)
    if not near.any():  # the usual case on a street
        return overlapping
    offset = offset[near]
    first, second = first.broadcast(near.shape)[near], second.broadcast(near.shape)[near]
    own = first.axes(), second.axes()
    axes = np.concatenate(own, axis=1)  # (K, 4, 2)
    distance = np.abs(np.einsum("kai,ki->ka", axes, offset))
    reach = _radius(first, own[0], axes) + _radius(second, own[1], axes) + margin
    overlapping[near] = (distance < reach).all(axis=1)
    return overlapping


def offsets_in_box(offsets: np.ndarray, size: np.ndarray, yaw: float, margin: float = 0.0) -> np.ndarray:
    """(P,) bool: which points a box holds, its sides included, `margin` metres added on every side.

    offsets (P, 3): the points minus the box's centre, in metres; size (3,) length, width, height; yaw in radians.
    """
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = offsets.T
    local = np.stack([cos * x + sin * y, cos * y - sin * x, z])
    return (np.abs(local) <= (size / 2.0 + margin)[:, None]).all(axis=0)


def count_points_in_boxes(points: np.ndarray, center: np.ndarray, size: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """How many points (P, 3) each of N boxes of the same frame holds: (N,) int64.

    center (N, 3) and size (N, 3) length, width, height in metres; yaw (N,) in radians.
    """
    points = points[np.argsort(points[:, 0], kind="stable")]
    reach = np.hypot(size[:, 0], size[:, 1]) / 2.0
    low, high = np.searchsorted(points[:, 0], [center[:, 0] - reach, center[:, 0] + reach])
    counts = [
        np.count_nonzero(offsets_in_box(points[low[i] : high[i]] - center[i], size[i], yaw[i])) for i in range(len(yaw))
    ]
    return np.array(counts, np.int64)


def _radius(rectangles: Rectangles, own_axes: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Half extents (K, 4) of K rectangles with axes (K, 2, 2), along `axes` (K, 4, 2)."""
    shares = np.abs(np.einsum("kai,kbi->kab", axes, own_axes))
    return np.einsum("kab,kb->ka", shares, rectangles.size / 2.0)
