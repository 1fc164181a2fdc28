"""Real (or any) nuScenes-format tables as a script for the synthetic world: who is where at each keyframe."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import ego_pose, open_nuscenes, scene_samples, sensor_transform
from kd_perception.errors import DataError
from kd_perception.geometry.transforms import make_transform, yaw_of
from kd_synthetic.dataset.card import Fact
from kd_synthetic.rendering.sensors import LIDAR_CHANNEL, SWEEP_PERIOD_US, CameraSensor, SensorRig, scaled_intrinsics

if TYPE_CHECKING:
    from nuscenes import NuScenes


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One keyframe: its sample row, and for each sensor channel its sample_data row, its time step (0.05 s from the
    scene's first keyframe) and the pose (4, 4) of the ego at that time.
    """

    sample: dict
    rows: dict[str, dict]
    steps: dict[str, float]
    poses: dict[str, np.ndarray]

    @property
    def step(self) -> float:
        """Time step of the keyframe, which is its LiDAR's."""
        return self.steps[LIDAR_CHANNEL]

    @property
    def ego(self) -> np.ndarray:
        """Pose (4, 4) of the ego at the keyframe."""
        return self.poses[LIDAR_CHANNEL]


@dataclass(frozen=True, eq=False)
class SourceTrack:
    """One object over consecutive keyframes `frames` that all show it: detection class ('' for none), category, its
    sample_annotation rows, and its xy (K, 2) and yaw (K,).
    """

    name: str
    category: str
    frames: tuple[int, ...]
    rows: tuple[dict, ...]
    xy: np.ndarray
    yaw: np.ndarray

    def row(self, frame: int) -> dict:
        """Its sample_annotation row in a keyframe."""
        return self.rows[frame - self.frames[0]]

    @property
    def size(self) -> tuple[float, float, float]:
        """l, w, h in metres."""
        width, length, height = self.rows[0]["size"]
        return length, width, height


@dataclass(frozen=True, eq=False)
class SourceScene:
    """One scene of the tables, with the rig that recorded it at the size that is to be rendered."""

    name: str
    frames: tuple[SourceFrame, ...]
    tracks: tuple[SourceTrack, ...]
    rig: SensorRig


def scene_count(dataroot: Path, version: str) -> int:
    """Scenes in the tables; raises DataError if they cannot be read or hold none."""
    count = len(open_nuscenes(dataroot, version).scene)
    if count == 0:
        raise DataError(f"the tables {version} in {dataroot} hold no scene; give tables with at least one")
    return count


def read_scene(nusc: "NuScenes", index: int, width: int, height: int) -> SourceScene:
    """Scene `index` of the tables, for pictures of width x height.

    Raises DataError if a keyframe has no LIDAR_TOP row, and ValueError if the size is no crop of the pictures'.
    """
    name = nusc.scene[index]["name"]
    samples = [nusc.get("sample", token) for token in scene_samples(nusc, name)]
    frames = tuple(_frame(nusc, sample, samples[0]["timestamp"]) for sample in samples)
    return SourceScene(name, frames, tuple(_tracks(nusc, samples)), _rig(nusc, frames[0], width, height))


def _frame(nusc: "NuScenes", sample: dict, start: int) -> SourceFrame:
    rows = {channel: nusc.get("sample_data", token) for channel, token in sample["data"].items()}
    rows = {
        channel: row for channel, row in rows.items() if row["sensor_modality"] == "camera" or channel == LIDAR_CHANNEL
    }
    if LIDAR_CHANNEL not in rows:
        raise DataError(f"sample {sample['token']} has no {LIDAR_CHANNEL}, which gives a keyframe its time")
    steps = {channel: (row["timestamp"] - start) / SWEEP_PERIOD_US for channel, row in rows.items()}
    return SourceFrame(sample, rows, steps, {channel: ego_pose(nusc, row) for channel, row in rows.items()})


def _tracks(nusc: "NuScenes", samples: list[dict]) -> list[SourceTrack]:
    """Every instance, split where keyframes lack it: its place and visibility are unknown there."""
    from nuscenes.eval.detection.utils import category_to_detection_name

    seen: dict[str, list[tuple[int, dict]]] = {}
    for number, sample in enumerate(samples):
        for token in sample["anns"]:
            row = nusc.get("sample_annotation", token)
            seen.setdefault(row["instance_token"], []).append((number, row))
    tracks = []
    for appearances in seen.values():
        numbers = np.array([number for number, _ in appearances])
        for run in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) > 1) + 1):
            rows = tuple(appearances[i][1] for i in run)
            yaw = np.unwrap([yaw_of(make_transform(np.array(row["rotation"]), np.zeros(3))) for row in rows])
            category = rows[0]["category_name"]
            name = category_to_detection_name(category) or ""
            xy = np.array([row["translation"][:2] for row in rows])
            tracks.append(SourceTrack(name, category, tuple(numbers[run].tolist()), rows, xy, yaw))
    return tracks


def _rig(nusc: "NuScenes", frame: SourceFrame, width: int, height: int) -> SensorRig:
    cameras = []
    for channel, row in frame.rows.items():
        if channel == LIDAR_CHANNEL:
            continue
        calibration = nusc.get("calibrated_sensor", row["calibrated_sensor_token"])
        matrix = np.array(calibration["camera_intrinsic"])
        intrinsics = scaled_intrinsics(
            float(matrix[0, 0]), (matrix[0, 2], matrix[1, 2]), width, height, (row["width"], row["height"])
        )
        intrinsics[1, 1] *= matrix[1, 1] / matrix[0, 0]
        lens = calibration.get("distortion_model", "none"), tuple(calibration.get("distortion", ()))
        cameras.append(CameraSensor(channel, intrinsics, sensor_transform(nusc, row), width, height, *lens))
    return SensorRig(tuple(cameras), sensor_transform(nusc, frame.rows[LIDAR_CHANNEL]))


def original_facts(nusc: "NuScenes") -> list[list[Fact]]:
    """The tables' own annotations as the data card counts them, keyframe by keyframe."""
    from nuscenes.eval.detection.utils import category_to_detection_name

    frames = []
    for sample in nusc.sample:
        ego = ego_pose(nusc, nusc.get("sample_data", sample["data"][LIDAR_CHANNEL]))[:2, 3]
        facts = []
        for token in sample["anns"]:
            row = nusc.get("sample_annotation", token)
            name = category_to_detection_name(row["category_name"])
            if name:
                distance = float(np.linalg.norm(np.array(row["translation"][:2]) - ego))
                level = int(row["visibility_token"]) if row["visibility_token"] in ("1", "2", "3", "4") else 0
                facts.append(Fact(name, distance, row["num_lidar_pts"], level, _speed(nusc, row)))
        frames.append(facts)
    return frames


def _speed(nusc: "NuScenes", row: dict) -> float:
    """Metres per second over ground; 0 where the tables have none."""
    velocity = row.get("velocity_global") or nusc.box_velocity(row["token"])[:2].tolist()
    return float(np.hypot(*velocity)) if velocity[0] is not None and np.isfinite(velocity).all() else 0.0
