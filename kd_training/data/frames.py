"""Training frames: what a nuScenes-format data set says about a keyframe, read once; files are opened when a sample is
made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from nuscenes import NuScenes

from kd_perception.boxes import Boxes
from kd_perception.errors import DataError
from kd_perception.nuscenes import (
    LIDAR,
    Frame,
    ego_pose,
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_names,
    scene_samples,
    sensor_transform,
    truth_boxes,
)
from kd_perception.rig import Camera
from kd_perception.transforms import apply, invert
from kd_training.config import DataRoot


@dataclass(frozen=True)
class CameraReturns:
    """LiDAR returns that one camera sees: pixels (P, 2) of its image (centres at .5), ranges (P,) in metres."""

    pixels: np.ndarray
    ranges: np.ndarray


@dataclass(frozen=True)
class TrainingFrame:
    """A keyframe with its truth in ego: boxes that a LiDAR or RADAR point hit, as the metric counts them."""

    frame: Frame
    boxes: Boxes
    lidar: dict
    nusc: NuScenes = field(repr=False)

    @property
    def cameras(self) -> list[Camera]:
        """The rig, in order."""
        return [image.camera for image in self.frame.images]

    @cached_property
    def returns(self) -> tuple[CameraReturns, ...]:
        """LiDAR returns per camera, moved to where the ego was at its exposure; DataError without the file."""
        points = read_lidar(self.nusc, self.lidar)[:, :3].astype(np.float64)
        in_global = apply(ego_pose(self.nusc, self.lidar) @ sensor_transform(self.nusc, self.lidar), points)
        seen_by = []
        sample = self.nusc.get("sample", self.frame.sample_token)
        for image in self.frame.images:
            exposure = self.nusc.get("sample_data", sample["data"][image.camera.name])
            pixels, ranges, seen = image.camera.project(apply(invert(ego_pose(self.nusc, exposure)), in_global))
            seen_by.append(CameraReturns(pixels[seen].astype(np.float32), ranges[seen].astype(np.float32)))
        return tuple(seen_by)


@dataclass(frozen=True)
class Dataset:
    """One opened data set: its tables, the scenes used, and all their keyframes."""

    nusc: NuScenes = field(repr=False)
    scenes: tuple[str, ...]
    frames: tuple[TrainingFrame, ...]


def open_dataset(source: DataRoot) -> Dataset:
    """Read a data set's keyframes; raises DataError naming what is missing."""
    nusc = open_nuscenes(Path(source.root), source.version)
    scenes = tuple(source.scenes) or tuple(scene_names(nusc))
    frames = tuple(_training_frame(nusc, token) for scene in scenes for token in scene_samples(nusc, scene))
    return Dataset(nusc, scenes, frames)


def open_frames(sources: Sequence[DataRoot]) -> tuple[TrainingFrame, ...]:
    """All keyframes of several data sets; raises DataError if there are none."""
    frames = tuple(frame for source in sources for frame in open_dataset(source).frames)
    if not frames:
        raise DataError("data.roots hold no keyframes; name at least one data set with scenes")
    return frames


def _training_frame(nusc: NuScenes, token: str) -> TrainingFrame:
    frame = load_frame(nusc, token)
    boxes, points = truth_boxes(nusc, token, frame.global_from_ego)
    sample = nusc.get("sample", token)
    lidar = nusc.get("sample_data", sample["data"][LIDAR]) if LIDAR in sample["data"] else {}
    return TrainingFrame(frame, boxes[points > 0], lidar, nusc)
