"""Which cameras see a point of the BEV volume, and which of them it is looked at with, in `pull` and attention.

A point takes at most SOURCES cameras, those that see it furthest from their image's left and right border.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid

SOURCES = 2  # cameras per point: neighbouring cameras of common rigs overlap in pairs


def voxel_centers(grid: BevGrid, heights: Sequence[float]) -> np.ndarray:
    """Ego points (heights * rows * columns, 3) of a grid's cells at these heights in metres, heights slowest."""
    xy = grid.centers().reshape(-1, 2)
    return np.column_stack([np.tile(xy, (len(heights), 1)), np.repeat(np.asarray(heights), len(xy))])


@dataclass(frozen=True)
class SeenPoints:
    """The K points that a camera sees: their index (K,), network image pixels (K, 2), range (K,) in metres."""

    index: np.ndarray
    pixels: np.ndarray
    ranges: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "SeenPoints":
        return SeenPoints(self.index[chosen], self.pixels[chosen], self.ranges[chosen])

    def margin(self, width: int) -> np.ndarray:
        """Pixels to the nearer of the borders at the left and right, above 0: rigs overlap sideways, and the camera
        that looks straighter wins.
        """
        return np.minimum(self.pixels[:, 0], width - self.pixels[:, 0]) + 1e-3


def seen_points(
    points: np.ndarray, camera: Camera, network_from_image: np.ndarray, image_size: tuple[int, int]
) -> SeenPoints:
    """Of ego points (N, 3) those that the camera shows within its network image of (height, width) pixels."""
    index = np.arange(len(points))
    if camera.lens.max_angle <= np.pi / 2.0:  # half of them are behind the camera: not worth projecting
        forward, position = camera.ego_from_camera[:3, 2], camera.ego_from_camera[:3, 3]
        index = np.flatnonzero(points @ forward > forward @ position)
    pixels, ranges, seen = camera.project(points[index])
    pixels = pixels[seen] @ network_from_image[:2, :2].T + network_from_image[:2, 2]
    inside = (pixels[:, 0] >= 0) & (pixels[:, 1] >= 0)
    inside &= (pixels[:, 0] < image_size[1]) & (pixels[:, 1] < image_size[0])
    return SeenPoints(index[seen], pixels, ranges[seen])[inside]


@dataclass(frozen=True)
class BestSources:
    """Per point the cameras with the largest margin so far, best first: margin (SOURCES, points), 0 where there is
    none; `values`: arrays (SOURCES, points, ...) of what those cameras say of it.
    """

    margin: np.ndarray
    values: tuple[np.ndarray, ...]

    @staticmethod
    def of(points: int, *values: np.ndarray) -> "BestSources":
        """None yet of so many points; `values` are empty arrays (0, ...) that give shapes and types."""
        blank = tuple(np.zeros((SOURCES, points, *value.shape[1:]), value.dtype) for value in values)
        return BestSources(np.zeros((SOURCES, points)), blank)

    @property
    def used(self) -> np.ndarray:
        """Which sources there are (SOURCES, points)."""
        return self.margin > 0

    def offer(self, index: np.ndarray, margin: np.ndarray, *values: np.ndarray) -> None:
        """Enter what one camera says (K, ...) of the points `index` (K,) where it beats what is there; earlier cameras
        win ties.
        """
        first = margin > self.margin[0, index]
        second = ~first & (margin > self.margin[1, index])
        for table, value in zip((self.margin, *self.values), (margin, *values), strict=True):
            table[1, index[second]] = value[second]
            table[1, index[first]] = table[0, index[first]]
            table[0, index[first]] = value[first]
