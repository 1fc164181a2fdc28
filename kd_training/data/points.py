"""A keyframe's point cloud, from the files of its sweeps, and clouds as batches: what a cloud is stands in
kd_perception.teacher."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from kd_perception.datasets.nuscenes import ego_pose, sensor_transform
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import invert
from kd_perception.teacher import clouds
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import TeacherModelConfig
from kd_training.config.teacher_spec import pillar_raster, points_spec
from kd_training.data.frames import TrainingFrame


def merge_sweeps(
    frame: TrainingFrame, sweeps: Sequence[tuple[dict, np.ndarray]], teacher: TeacherModelConfig
) -> np.ndarray:
    """One cloud (P, 5) float32 in the keyframe's ego, from sample_data rows with their points (N, 5) in that
    LiDAR's frame, the keyframe's own sweeps first; cut and thinned as `teacher` says. The same every time.

    Raises DataError naming the keyframe's sweep where no point is left.
    """
    rng = np.random.default_rng(zlib.crc32(frame.frame.sample_token.encode()))
    parts = [_sweep(frame, row, points) for row, points in sweeps]
    cloud = clouds.merge_sweeps(parts, points_spec(teacher), pillar_raster(teacher), rng)
    if not len(cloud):
        low, high = teacher.points.z_range
        raise DataError(
            f"point cloud {frame.nusc.dataroot}/{frame.lidar['filename']} and the sweeps before it have no points "
            f"within {clouds.REACH * teacher.grid.extent:g} m and {low:g} to {high:g} m of height; check the LiDAR's "
            "calibration and teacher.points.z_range"
        )
    return cloud


def augment_points(cloud: np.ndarray, target_from_ego: np.ndarray, grid: BevGrid) -> np.ndarray:
    """A cloud moved by `target_from_ego` (4, 4), maybe with a scale or a mirror, and cut to the grid."""
    moved = cloud.copy()
    moved[:, :3] = clouds.moved_points(cloud[:, :3], target_from_ego)
    return clouds.cut_to_grid(moved, grid)


def collate_points(clouds: Sequence[np.ndarray]) -> PointBatch:
    """The clouds of several rigs as one batch."""
    rig = np.repeat(np.arange(len(clouds)), [len(cloud) for cloud in clouds])
    return PointBatch(torch.from_numpy(np.concatenate(clouds)), torch.from_numpy(rig))


def _sweep(frame: TrainingFrame, row: dict, points: np.ndarray) -> clouds.Sweep:
    """One sweep's points (N, 5), and where and when they were measured."""
    motion = invert(frame.frame.global_from_ego) @ ego_pose(frame.nusc, row)
    age_s = (frame.lidar["timestamp"] - row["timestamp"]) / 1e6
    return clouds.Sweep(points, sensor_transform(frame.nusc, row), motion, age_s)
