"""Points to pillars (PointPillars, arXiv:1812.05784), in NumPy: what a teacher takes of a cloud, in training as in its
file. There is no limit of pillars, and none of points per pillar in training; a file has room for so many points.

A file finds the maximum over each pillar without scatter: points of a pillar stand together, and `followers` says how
many of its pillar's come after each. Maxima over 2, 4, 8 ... points then meet in the pillar's first point, and
`first_point` brings them to its cell.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kd_perception.geometry.grid import BevGrid
from kd_perception.teacher.spec import FIRST_POINT_INPUT, FOLLOWERS_INPUT, POINTS_INPUT, TeacherSpec

# x, y, z, intensity, age, offsets from the pillar's centre (2) and from its mean height, how many share it
FEATURES = 9
RANGE_SCALE, HEIGHT_SCALE, AGE_SCALE = 50.0, 3.0, 0.25  # metres and seconds: inputs of about 1
CROWD_SCALE = 4.0  # of the logarithm of a pillar's count


class PillarPoints(NamedTuple):
    """The P points of a cloud that lie on a raster, in the cloud's order.

    kept: (N,) bool, which of the cloud's they are; cell: (P,) int64, row * columns + column of each one's pillar;
    features: (P, FEATURES) float32.
    """

    kept: np.ndarray
    cell: np.ndarray
    features: np.ndarray


def pillar_points(cloud: np.ndarray, raster: BevGrid) -> PillarPoints:
    """Pillars of a cloud (N, 5 or more) float32: x, y, z in ego, metres; intensity 0 to 1; age in seconds."""
    rows, columns = raster.shape
    origin = np.array([raster.x_min, raster.y_min], np.float32)
    place = (cloud[:, :2] - origin) / np.float32(raster.cell_size)
    corner = np.floor(place)
    x, y = corner.T
    kept = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
    points, place, corner = cloud[kept], place[kept], corner[kept]
    cell = corner[:, 1].astype(np.int64) * columns + corner[:, 0].astype(np.int64)
    count = np.bincount(cell, minlength=1)[cell]
    mean_z = np.bincount(cell, points[:, 2], minlength=1)[cell] / count
    features = np.empty((len(points), FEATURES), np.float32)
    features[:, :2] = points[:, :2] / RANGE_SCALE
    features[:, 2] = points[:, 2] / HEIGHT_SCALE
    features[:, 3] = points[:, 3]
    features[:, 4] = points[:, 4] / AGE_SCALE
    features[:, 5:7] = place - corner - 0.5
    features[:, 7] = points[:, 2] - mean_z
    features[:, 8] = np.log(count) / CROWD_SCALE
    return PillarPoints(kept, cell, features)


@dataclass(frozen=True, eq=False)
class FilledTables:
    """A file's inputs by name, and how many points did not find room in them."""

    inputs: dict[str, np.ndarray]
    left_out: int


def pillar_tables(found: PillarPoints, spec: TeacherSpec) -> FilledTables:
    """Pillars as the inputs of a teacher's file. What is beyond its room (`most` points, `crowd` in one pillar) is left
    out, the last first."""
    order = np.argsort(found.cell, kind="stable")
    cell = found.cell[order]
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)  # of each point within its pillar
    fits = rank < spec.points.crowd
    order, cell, rank = (part[fits][: spec.points.most] for part in (order, cell, rank))
    points = np.zeros((spec.points.most, FEATURES), np.float32)
    followers = np.zeros(spec.points.most, np.int32)
    first_point = np.full(np.prod(spec.raster.shape), spec.points.most, np.int32)  # that row of the file is zero
    points[: len(cell)] = found.features[order]
    followers[: len(cell)] = np.searchsorted(cell, cell, side="right") - np.arange(len(cell)) - 1
    first_point[cell[rank == 0]] = np.flatnonzero(rank == 0)
    inputs = {POINTS_INPUT: points, FOLLOWERS_INPUT: followers, FIRST_POINT_INPUT: first_point}
    return FilledTables(inputs, len(found.cell) - len(cell))
