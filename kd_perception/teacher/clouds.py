"""Point clouds of several sweeps in the ego frame of a moment, each point with its age.

As CenterPoint (arXiv:2006.11275) and most of the field read nuScenes: ten sweeps, moved by the ego's motion between
them, so that what stands still is dense and what moves leaves a trail that shows its velocity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.grid import BevGrid
from kd_perception.teacher.spec import PointsSpec

COLUMNS = 5  # x, y, z, intensity, age
REACH = 1.5  # of the grid's half-width: no turn or scale of training brings points from further away into it


@dataclass(frozen=True, eq=False)
class Sweep:
    """One sweep of a LiDAR.

    points: (N, 4 or more) in the LiDAR's frame: x, y, z in metres, intensity from 0 to `full_intensity`;
    base_from_lidar: (4, 4); target_from_base: (4, 4), the ego's motion from the sweep's time to the moment;
    age_s: the moment minus the sweep's time.
    """

    points: np.ndarray
    base_from_lidar: np.ndarray
    target_from_base: np.ndarray
    age_s: float
    full_intensity: float = 255.0


def merge_sweeps(sweeps: Sequence[Sweep], spec: PointsSpec, raster: BevGrid, rng: np.random.Generator) -> np.ndarray:
    """One cloud (P, COLUMNS) float32 in the ego of the moment: cut and thinned as `spec` says, at random by `rng`.

    Intensities are from 0 to 1. It reaches REACH times as far as the pillars' `raster`; P may be 0.
    """
    reach, (low, high) = REACH * raster.x_max, spec.z_range
    points = np.concatenate([np.zeros((0, COLUMNS), np.float32), *(_at_the_moment(sweep, spec) for sweep in sweeps)])
    x, y, z = points[:, :3].T  # column by column: NumPy is slow where it reduces rows of two or three
    kept = (z >= low) & (z < high) & (np.abs(x) < reach) & (np.abs(y) < reach)
    return _thinned(points[kept], spec, raster.cell_size, rng)


def cut_to_grid(cloud: np.ndarray, grid: BevGrid) -> np.ndarray:
    """The points of a cloud that lie on the grid."""
    x, y = cloud[:, 0], cloud[:, 1]
    return cloud[(x >= grid.x_min) & (x < grid.x_max) & (y >= grid.y_min) & (y < grid.y_max)]


def moved_points(points: np.ndarray, target_from_source: np.ndarray) -> np.ndarray:
    """Points (P, 3) in another frame, in float32: near the ego that is exact to micrometres."""
    return points @ target_from_source[:3, :3].T.astype(np.float32) + target_from_source[:3, 3].astype(np.float32)


def _at_the_moment(sweep: Sweep, spec: PointsSpec) -> np.ndarray:
    """A sweep's points (P, COLUMNS) float32 in the ego of the moment, without the robot itself."""
    local = moved_points(sweep.points[:, :3], sweep.base_from_lidar)
    x_min, x_max, y_min, y_max = spec.own_body
    own = (local[:, 0] > x_min) & (local[:, 0] < x_max) & (local[:, 1] > y_min) & (local[:, 1] < y_max)
    kept = ~own & np.logical_and.reduce([np.isfinite(sweep.points[:, column]) for column in range(4)])
    moved = np.empty((np.count_nonzero(kept), COLUMNS), np.float32)
    moved[:, :3] = moved_points(local[kept], sweep.target_from_base)
    moved[:, 3] = np.clip(sweep.points[kept, 3] / sweep.full_intensity, 0.0, 1.0)
    moved[:, 4] = sweep.age_s
    return moved


def _thinned(points: np.ndarray, spec: PointsSpec, cell_size: float, rng: np.random.Generator) -> np.ndarray:
    """About `per_pillar` points of each crowded pillar, and at most `most` in all, drawn at random."""
    if spec.per_pillar:
        column, row = (_counted_from_0(points[:, axis] / np.float32(cell_size)) for axis in range(2))
        index = column * (row.max(initial=0) + 1) + row
        crowd = np.bincount(index)[index]
        points = points[rng.random(len(points), np.float32) * crowd < spec.per_pillar]
    if spec.most and len(points) > spec.most:
        points = points[rng.choice(len(points), spec.most, replace=False, shuffle=False)]
    return points


def _counted_from_0(places: np.ndarray) -> np.ndarray:
    """Whole numbers of cells (P,) int64, the lowest being 0."""
    cells = np.floor(places).astype(np.int64)
    return cells - cells.min(initial=0)
