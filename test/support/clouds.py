"""LiDAR files of the painted data set with known contents."""

from pathlib import Path

import numpy as np

from kd_perception.datasets.nuscenes import ego_pose, sensor_transform
from kd_perception.geometry.transforms import apply, invert
from kd_training.data.frames import TrainingFrame


def write_cloud(frame: TrainingFrame, row: dict, in_global: np.ndarray, intensity: float = 51.0) -> Path:
    """Overwrite the file of a sample_data row with points (P, 3) that lie at global places."""
    lidar_from_global = invert(ego_pose(frame.nusc, row) @ sensor_transform(frame.nusc, row))
    points = np.zeros((len(in_global), 5), np.float32)
    points[:, :3] = apply(lidar_from_global, in_global)
    points[:, 3] = intensity
    path = Path(frame.nusc.dataroot) / row["filename"]
    path.write_bytes(points.tobytes())
    return path


def lidar_rows(frame: TrainingFrame) -> list[dict]:
    """The LiDAR rows of the frame's scene up to the frame's own, newest first."""
    scene_of = {row["token"]: row["scene_token"] for row in frame.nusc.sample}
    scene = scene_of[frame.frame.sample_token]
    rows = [row for row in frame.nusc.sample_data if row["channel"] == "LIDAR_TOP"]
    rows = [row for row in rows if scene_of[row["sample_token"]] == scene]
    rows = [row for row in rows if row["timestamp"] <= frame.lidar["timestamp"]]
    return sorted(rows, key=lambda row: -row["timestamp"])


def surface(rng: np.random.Generator, center: np.ndarray, size: np.ndarray, yaw: float, count: int) -> np.ndarray:
    """Points (count, 3) inside a box, all over it."""
    local = rng.uniform(-0.45, 0.45, (count, 3)) * size
    cos, sin = np.cos(yaw), np.sin(yaw)
    turned = np.column_stack(
        [cos * local[:, 0] - sin * local[:, 1], sin * local[:, 0] + cos * local[:, 1], local[:, 2]]
    )
    return turned + center
