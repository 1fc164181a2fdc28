"""Point clouds of several sweeps in the ego frame of a keyframe, each point with its age.

As CenterPoint (arXiv:2006.11275) and most of the field read nuScenes: ten sweeps, moved by the ego's motion between
them, so that what stands still is dense and what moves leaves a trail that shows its velocity.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from kd_perception.datasets.nuscenes import ego_pose, sensor_transform
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import invert
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import TeacherModelConfig
from kd_training.data.frames import TrainingFrame

COLUMNS = 5  # x, y, z, intensity, age
EGO_VEHICLE = (-1.5, 3.5, -1.1, 1.1)  # x and y range of the car itself in ego, metres (nuScenes: a Renault Zoe)
REACH = 1.5  # of the grid's half-width: no turn or scale brings points from further away into it


def merge_sweeps(
    frame: TrainingFrame, sweeps: Sequence[tuple[dict, np.ndarray]], teacher: TeacherModelConfig
) -> np.ndarray:
    """One cloud (P, 5) float32 in the keyframe's ego, from sample_data rows with their points (N, 5) in that
    LiDAR's frame, the keyframe's own sweeps first; cut and thinned as `teacher` says. The same every time.

    Raises DataError naming the keyframe's sweep where no point is left.
    """
    config, reach = teacher.points, REACH * teacher.grid.extent
    low, high = config.z_range
    points = np.concatenate([_in_keyframe(frame, row, sweep) for row, sweep in sweeps])
    x, y, z = points[:, :3].T  # column by column: NumPy is slow where it reduces rows of two or three
    kept = (z >= low) & (z < high) & (np.abs(x) < reach) & (np.abs(y) < reach)
    if not kept.any():
        raise DataError(
            f"point cloud {frame.nusc.dataroot}/{frame.lidar['filename']} and the sweeps before it have no points "
            f"within {reach:g} m and {low:g} to {high:g} m of height; check the LiDAR's calibration and "
            "teacher.points.z_range"
        )
    return _thinned(points[kept], teacher, np.random.default_rng(zlib.crc32(frame.frame.sample_token.encode())))


def augment_points(cloud: np.ndarray, target_from_ego: np.ndarray, grid: BevGrid) -> np.ndarray:
    """A cloud moved by `target_from_ego` (4, 4), maybe with a scale or a mirror, and cut to the grid."""
    moved = cloud.copy()
    moved[:, :3] = _moved(cloud[:, :3], target_from_ego)
    x, y = moved[:, 0], moved[:, 1]
    return moved[(x >= grid.x_min) & (x < grid.x_max) & (y >= grid.y_min) & (y < grid.y_max)]


def collate_points(clouds: Sequence[np.ndarray]) -> PointBatch:
    """The clouds of several rigs as one batch."""
    rig = np.repeat(np.arange(len(clouds)), [len(cloud) for cloud in clouds])
    return PointBatch(torch.from_numpy(np.concatenate(clouds)), torch.from_numpy(rig))


def _in_keyframe(frame: TrainingFrame, row: dict, points: np.ndarray) -> np.ndarray:
    """One sweep's points (N, 5) as (P, 5) float32 in the keyframe's ego, without the car itself."""
    nusc = frame.nusc
    local = _moved(points[:, :3], sensor_transform(nusc, row))
    x_min, x_max, y_min, y_max = EGO_VEHICLE
    own = (local[:, 0] > x_min) & (local[:, 0] < x_max) & (local[:, 1] > y_min) & (local[:, 1] < y_max)
    motion = invert(frame.frame.global_from_ego) @ ego_pose(nusc, row)
    kept = ~own & np.logical_and.reduce([np.isfinite(points[:, column]) for column in range(4)])
    sweep = np.empty((np.count_nonzero(kept), COLUMNS), np.float32)
    sweep[:, :3] = _moved(local[kept], motion)
    sweep[:, 3] = np.clip(points[kept, 3] / 255.0, 0.0, 1.0)
    sweep[:, 4] = (frame.lidar["timestamp"] - row["timestamp"]) / 1e6
    return sweep


def _thinned(points: np.ndarray, teacher: TeacherModelConfig, rng: np.random.Generator) -> np.ndarray:
    """About `per_pillar` points of each crowded pillar, and at most `most` in all, drawn at random."""
    config = teacher.points
    if config.per_pillar:
        cells = np.floor(points[:, :2] / np.float32(teacher.pillar_size)).astype(np.int64)
        cells -= cells.min(axis=0, initial=0)
        index = cells[:, 0] * (cells[:, 1].max(initial=0) + 1) + cells[:, 1]
        crowd = np.bincount(index)[index]
        points = points[rng.random(len(points), np.float32) * crowd < config.per_pillar]
    if config.most and len(points) > config.most:
        points = points[rng.choice(len(points), config.most, replace=False, shuffle=False)]
    return points


def _moved(points: np.ndarray, target_from_source: np.ndarray) -> np.ndarray:
    """Points (P, 3) in another frame, in float32: near the ego that is exact to micrometres."""
    return points @ target_from_source[:3, :3].T.astype(np.float32) + target_from_source[:3, 3].astype(np.float32)
