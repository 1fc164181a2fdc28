"""A keyframe's LiDAR points: several sweeps in the ego frame of the keyframe, each point with its age.

As CenterPoint (arXiv:2006.11275) and most of the field read nuScenes: ten sweeps, moved by the ego's motion between
them, so that what stands still is dense and what moves leaves a trail that shows its velocity.
"""

import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from nuscenes import NuScenes

from kd_perception.datasets.nuscenes import LIDAR, ego_pose, read_lidar, sensor_transform
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import invert
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import PointsConfig
from kd_training.data.byte_cache import ByteCache
from kd_training.data.frames import TrainingFrame
from kd_training.data.virtual_points import virtual_points

COLUMNS = 5  # x, y, z, intensity, age
OLDEST_S = 1.5  # a sweep older than this is of another drive, or of a gap in the recording
EGO_VEHICLE = (-1.5, 3.5, -1.1, 1.1)  # x and y range of the car itself in ego, metres (nuScenes: a Renault Zoe)
REACH = 1.5  # of the grid's half-width: no turn or scale brings points from further away into it


class PointSource:
    """Reads clouds of keyframes and keeps them in memory up to `cache_bytes`: an epoch later they are wanted again."""

    def __init__(self, config: PointsConfig, grid: BevGrid, pillar_size: float, cache_bytes: int) -> None:
        self.config, self.grid, self.pillar_size = config, grid, pillar_size
        self._cache: ByteCache[np.ndarray] = ByteCache(cache_bytes)
        self._timelines: dict[str, dict[str, list[dict]]] = {}

    def cloud(self, frame: TrainingFrame) -> np.ndarray:
        """Points (P, 5 or 6) of a keyframe in ego, as PointBatch says: the same every time. Do not write into it.

        Raises DataError naming a file that is missing, cut or empty. Fewer sweeps than configured are used where the
        recording has fewer.
        """
        cloud = self._cache.get(frame.key)
        if cloud is None:
            cloud = self._read(frame)
            self._cache.put(frame.key, cloud, cloud.nbytes)
        return cloud

    def augmented(self, frame: TrainingFrame, target_from_ego: np.ndarray) -> np.ndarray:
        """The keyframe's cloud under an augmentation (4, 4): a function of these two and nothing else."""
        return augment_points(self.cloud(frame), target_from_ego, self.grid)

    def _read(self, frame: TrainingFrame) -> np.ndarray:
        rows = self._sweep_rows(frame)
        points = np.concatenate([_sweep(frame, row) for row in rows])
        low, high = self.config.z_range
        reach = REACH * self.grid.x_max
        kept = (points[:, 2] >= low) & (points[:, 2] < high) & (np.abs(points[:, :2]) < reach).all(axis=1)
        if not kept.any():
            raise DataError(
                f"point cloud {frame.nusc.dataroot}/{frame.lidar['filename']} and the sweeps before it have no points "
                f"within {reach:g} m and {low:g} to {high:g} m of height; check the LiDAR's calibration and "
                "teacher.points.z_range"
            )
        points = self._thinned(points[kept], np.random.default_rng(zlib.crc32(frame.frame.sample_token.encode())))
        if self.config.virtual.per_instance:
            points = np.concatenate([np.pad(points, ((0, 0), (0, 1))), virtual_points(frame, self.config.virtual)])
        return np.ascontiguousarray(points, np.float32)

    def _sweep_rows(self, frame: TrainingFrame) -> list[dict]:
        """sample_data rows: the keyframe's sweep, then older ones, newest first."""
        if not frame.lidar:
            raise DataError(f"sample {frame.frame.sample_token} has no {LIDAR} in its tables; a teacher needs one")
        root = f"{frame.nusc.dataroot}/{frame.nusc.version}"
        if root not in self._timelines:
            self._timelines[root] = _lidar_timelines(frame.nusc)
        stamp = frame.lidar["timestamp"]
        older = [
            row for row in self._timelines[root][frame.frame.scene] if stamp - 1e6 * OLDEST_S < row["timestamp"] < stamp
        ]
        return [frame.lidar, *older[::-1][: self.config.sweeps - 1]]

    def _thinned(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """About `per_pillar` points of each crowded pillar, and at most `most` in all, drawn at random."""
        if self.config.per_pillar:
            cells = np.floor(points[:, :2] / np.float32(self.pillar_size)).astype(np.int64)
            cells -= cells.min(axis=0, initial=0)
            index = cells[:, 0] * (cells[:, 1].max(initial=0) + 1) + cells[:, 1]
            crowd = np.bincount(index)[index]
            points = points[rng.random(len(points), np.float32) * crowd < self.config.per_pillar]
        if self.config.most and len(points) > self.config.most:
            points = points[rng.choice(len(points), self.config.most, replace=False, shuffle=False)]
        return points


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


def _sweep(frame: TrainingFrame, row: dict) -> np.ndarray:
    """One sweep (P, 5) float32 in the keyframe's ego, without the car itself."""
    nusc = frame.nusc
    points = read_lidar(nusc, row)
    if not len(points):
        raise DataError(
            f"point cloud {nusc.dataroot}/{row['filename']} is empty; restore it or choose scenes whose files are there"
        )
    ego_from_lidar = sensor_transform(nusc, row)
    local = _moved(points[:, :3], ego_from_lidar)
    x_min, x_max, y_min, y_max = EGO_VEHICLE
    own = (local[:, 0] > x_min) & (local[:, 0] < x_max) & (local[:, 1] > y_min) & (local[:, 1] < y_max)
    motion = invert(frame.frame.global_from_ego) @ ego_pose(nusc, row)
    kept = ~own & np.isfinite(points[:, :4]).all(axis=1)
    sweep = np.empty((np.count_nonzero(kept), COLUMNS), np.float32)
    sweep[:, :3] = _moved(local[kept], motion)
    sweep[:, 3] = np.clip(points[kept, 3] / 255.0, 0.0, 1.0)
    sweep[:, 4] = (frame.lidar["timestamp"] - row["timestamp"]) / 1e6
    return sweep


def _moved(points: np.ndarray, target_from_source: np.ndarray) -> np.ndarray:
    """Points (P, 3) in another frame, in float32: near the ego that is exact to micrometres."""
    return points @ target_from_source[:3, :3].T.astype(np.float32) + target_from_source[:3, 3].astype(np.float32)


def _lidar_timelines(nusc: NuScenes) -> dict[str, list[dict]]:
    """All LiDAR rows of each scene, by name, oldest first; by time stamps, because links may be missing."""
    scene_of = {row["token"]: row["name"] for row in nusc.scene}
    sample_scene = {row["token"]: scene_of.get(row["scene_token"]) for row in nusc.sample}
    rows = defaultdict(list)
    for row in nusc.sample_data:
        if row["channel"] == LIDAR:
            rows[sample_scene.get(row["sample_token"])].append(row)
    for scene in rows.values():
        scene.sort(key=lambda row: row["timestamp"])
    return dict(rows)
