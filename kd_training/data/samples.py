"""Samples of a student's training: a keyframe's files, read under one augmentation, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from kd_perception.datasets.nuscenes import Frame
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import invert
from kd_perception.runtime.bev_memory import warp_table
from kd_perception.student.spec import StudentSpec
from kd_training.data.augment import Augmentation
from kd_training.data.frames import TrainingFrame
from kd_training.data.lidar_source import LidarSource
from kd_training.data.rig_images import RigGeometries, RigImages, rig_images
from kd_training.data.targets import NO_DEPTH, DetectionTargets, depth_labels, detection_targets


@dataclass(frozen=True)
class PreviousSample:
    """The frame before one, `interval_s` seconds older; warp (rows, columns, 2): where the younger one's cells lie in
    it; `previous`: the one before it, if the sample is a longer sequence."""

    rig: RigImages
    warp: np.ndarray
    interval_s: float
    previous: "PreviousSample | None" = None


@dataclass(frozen=True)
class ShownFrame:
    """Which keyframe a sample shows (TrainingFrame.key), under which target_from_ego (4, 4), and the cameras that show
    something, in the target's frame."""

    key: str
    target_from_ego: np.ndarray
    cameras: tuple[Camera, ...]


class SeenSample(NamedTuple):
    """What a student sees of a sample: the rig, and the rig's earlier frame if there is one."""

    rig: RigImages
    previous: PreviousSample | None


@dataclass(frozen=True)
class TrainingSample:
    """One rig with depth labels (N, h, w) and targets; its earlier frame, if it has one; its cloud for a teacher; what
    a camera teacher sees of it."""

    rig: RigImages
    depth: np.ndarray
    targets: DetectionTargets
    shown: ShownFrame
    previous: PreviousSample | None = None
    cloud: np.ndarray | None = None
    finer: SeenSample | None = None


@dataclass(frozen=True)
class SampleReader:
    """Reads samples of a student; `depth_from` and `cloud_from` say where depth labels and clouds come from, None where
    the samples have none; `unlabelled_weight`: what a teacher's boxes count as truth; `finer`: of a camera teacher,
    which sees the same world in more pixels."""

    spec: StudentSpec
    depth_from: LidarSource | None = None
    cloud_from: LidarSource | None = None
    unlabelled_weight: float = 1.0
    finer: StudentSpec | None = None

    def read(
        self, frame: TrainingFrame, augmentation: Augmentation, earlier: Sequence[Frame] = (), *, clouded: bool = True
    ) -> TrainingSample:
        """A frame's files as arrays; `earlier` are earlier moments of the same scene, the latest first, under the same
        augmentation; `clouded`: with a cloud, if samples have one.

        Raises DataError naming a file that is missing or damaged.
        """
        rig, previous = _seen(self._geometries, (frame.frame, *earlier), augmentation)
        target_from_ego = augmentation.target_from_ego
        return TrainingSample(
            rig=rig,
            depth=self._depth(frame, rig),
            targets=self._targets(frame, target_from_ego),
            shown=ShownFrame(frame.key, target_from_ego, _seeing(frame, rig, augmentation)),
            previous=previous,
            cloud=self.cloud_from.augmented(frame, target_from_ego) if clouded and self.cloud_from else None,
            finer=None if self.finer is None else self._finer((frame.frame, *earlier), augmentation),
        )

    @cached_property
    def _geometries(self) -> RigGeometries:
        return RigGeometries(self.spec)

    @cached_property
    def _finer_geometries(self) -> RigGeometries:
        return RigGeometries(self.finer)

    def _finer(self, frames: Sequence[Frame], augmentation: Augmentation) -> SeenSample:
        """A teacher without memory sees no earlier frame."""
        scale = self.finer.image_size[0] / self.spec.image_size[0]
        seen = frames if self.finer.memory is not None else frames[:1]
        return _seen(self._finer_geometries, seen, augmentation.at_scale(scale))

    def _targets(self, frame: TrainingFrame, target_from_ego: np.ndarray) -> DetectionTargets:
        grid = self.spec.grid
        targets = detection_targets(frame.boxes.transformed(target_from_ego), grid, self.spec.coding)
        weight = frame.weight * (1.0 if frame.labelled else self.unlabelled_weight)
        if frame.doubt is None:
            return replace(targets, weight=weight)
        return targets.doubted(frame.doubt.mask(target_from_ego, grid, len(targets.heatmap)), weight)

    def _depth(self, frame: TrainingFrame, rig: RigImages) -> np.ndarray:
        """Depth labels (N, h, w); NO_DEPTH everywhere of a masked camera, and without a LiDAR."""
        depth = np.full((len(rig.images), *self.spec.feature_size), NO_DEPTH, np.int64)
        if self.depth_from is None or not frame.lidars:
            return depth
        affines = rig.geometry.network_from_image
        for index, returns in enumerate(self.depth_from.returns(frame)):
            if rig.camera_valid[index]:
                depth[index] = depth_labels(self.spec, frame.cameras[index], returns, affines[index])
        return depth


def _seen(geometries: RigGeometries, frames: Sequence[Frame], augmentation: Augmentation) -> SeenSample:
    """The first of `frames`, and the earlier ones, the latest first, as a student sees them."""
    return SeenSample(rig_images(geometries, frames[0], augmentation), _previous(geometries, frames, augmentation))


def _previous(geometries: RigGeometries, frames: Sequence[Frame], augmentation: Augmentation) -> PreviousSample | None:
    """What comes before the first of `frames`: the others, as the sample sees them."""
    if len(frames) < 2:
        return None
    frame, previous = frames[:2]
    motion = invert(previous.global_from_ego) @ frame.global_from_ego
    turn = augmentation.target_from_ego
    return PreviousSample(
        rig=rig_images(geometries, previous, augmentation),
        warp=warp_table(
            geometries.spec.grid, turn @ motion @ turn.T
        ),  # orthogonal, maybe a mirror: transpose = inverse
        interval_s=(frame.timestamp_us - previous.timestamp_us) / 1e6,
        previous=_previous(geometries, frames[1:], augmentation),
    )


def _seeing(frame: TrainingFrame, rig: RigImages, augmentation: Augmentation) -> tuple[Camera, ...]:
    """The cameras that are not masked, as the sample is augmented."""
    cameras = augmentation.cameras(frame.cameras)
    return tuple(camera for camera, valid in zip(cameras, rig.camera_valid, strict=True) if valid)
