"""Which cameras see a point of the BEV volume, and which of them it is looked at with, in `pull` and attention.

A point takes at most SOURCES cameras, those that see it furthest from their image's left and right border.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid

SOURCES = 2  # cameras per point: neighbouring cameras of common rigs overlap in pairs
ROUNDING = 1e-3  # metres that a point may lie outside a cone, and still be looked at


@dataclass(frozen=True)
class Voxels:
    """The points at which a view transform looks: of every cell of a grid a pillar of heights.

    x (columns,), y (rows,): where the pillars stand; middle, half: the height of their middles, and from there to their
    ends; points (3, heights * cells), heights slowest, one row a coordinate: NumPy is slow where rows are short.
    """

    x: np.ndarray
    y: np.ndarray
    middle: float
    half: float
    points: np.ndarray

    def in_cone(self, camera: Camera, angle: float) -> np.ndarray:
        """Indices (K,) of points, rising: all that lie within `angle` of the camera's axis, and what stands near them.

        A pillar is in a ball around its middle. Signed distances from a cone's mantle tell which balls reach into it.
        """
        axis, tip = camera.ego_from_camera[:3, 2], camera.ego_from_camera[:3, 3]
        x, y, z = self.x - tip[0], self.y - tip[1], self.middle - tip[2]
        along = np.add.outer(axis[1] * y, axis[0] * x + axis[2] * z)
        across = np.sqrt(np.maximum(np.add.outer(y * y, x * x + z * z) - along * along, 0.0))
        near = np.flatnonzero(across * np.cos(angle) - along * np.sin(angle) <= self.half + ROUNDING)
        layers = np.arange(0, self.points.shape[1], along.size)
        return np.add.outer(layers, near).ravel()


@lru_cache(maxsize=8)  # a training has one grid, or two with a camera teacher
def grid_voxels(grid: BevGrid, heights: tuple[float, ...]) -> Voxels:
    """The voxels of a grid's cells at these heights, in metres. Do not write into them."""
    centers = grid.centers()
    x, y = centers.reshape(-1, 2).T
    points = np.stack([np.tile(x, len(heights)), np.tile(y, len(heights)), np.repeat(np.asarray(heights), len(x))])
    low, high = min(heights), max(heights)
    return Voxels(centers[0, :, 0], centers[:, 0, 1], (low + high) / 2.0, (high - low) / 2.0, points)


@dataclass(frozen=True)
class SeenPoints:
    """The K points that a camera sees: their index (K,), network image pixels (K, 2), range (K,) in metres."""

    index: np.ndarray
    pixels: np.ndarray
    ranges: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "SeenPoints":
        return SeenPoints(self.index[chosen], _rows(self.pixels, chosen), self.ranges[chosen])

    def margin(self, width: int) -> np.ndarray:
        """Pixels to the nearer of the borders at the left and right, above 0: rigs overlap sideways, and the camera
        that looks straighter wins.
        """
        return np.minimum(self.pixels[:, 0], width - self.pixels[:, 0]) + 1e-3


def seen_points(
    voxels: Voxels, camera: Camera, network_from_image: np.ndarray, image_size: tuple[int, int]
) -> SeenPoints:
    """The voxels' points that the camera shows within its network image of (height, width) pixels."""
    height, width = image_size
    corners = np.array([[0.0, 0.0, 1.0], [width, 0.0, 1.0], [width, height, 1.0], [0.0, height, 1.0]])
    angle = camera.angle_within((corners @ np.linalg.inv(network_from_image).T)[:, :2])
    index = voxels.in_cone(camera, angle)
    pixels, ranges, seen = camera.project(voxels.points.take(index, axis=1).T)
    u, v = network_from_image[:2, :2] @ pixels.T + network_from_image[:2, 2:]
    shown = np.flatnonzero(seen & (u >= 0) & (v >= 0) & (u < width) & (v < height))
    return SeenPoints(index[shown], np.array([u[shown], v[shown]]).T, ranges[shown])


def _rows(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """table[index] of an (N, 2 or 3) table, coordinate by coordinate: NumPy is slow where rows are short."""
    return table.T.take(index, axis=1).T


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
        beats = margin > self.margin[0][index]
        first, second = np.flatnonzero(beats), np.flatnonzero(~beats & (margin > self.margin[1][index]))
        to_first, to_second = index[first], index[second]
        for (best, next_best), value in zip((self.margin, *self.values), (margin, *values), strict=True):
            next_best[to_second] = value[second]
            next_best[to_first] = best[to_first]
            best[to_first] = value[first]
