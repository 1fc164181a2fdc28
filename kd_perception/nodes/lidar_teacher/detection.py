"""What the LiDAR teacher does with one frame: sweeps with mounting and motion at their times, to the pipeline.

`prepare` and `infer` are the first two stages of `OverlappedStages`; each belongs to one thread.
"""

import threading
import time
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import PointCloud2

from kd_perception.errors import CalibrationError, KdError
from kd_perception.geometry.transforms import invert
from kd_perception.nodes.common.grace_period import GracePeriod
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.nodes.lidar_teacher.kept_clouds import KeptCloud, KeptClouds
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.lidar_points import lidar_points
from kd_perception.ros.tf import TransformSource
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.lidar_pipeline import LidarPipeline
from kd_perception.teacher.clouds import Sweep

Frame = FrameRecord[KeptCloud]


@dataclass(frozen=True)
class CloudFrames:
    """Frames of tf, and the clouds' scale: `full_intensity` is that of the brightest point."""

    base: str
    full_intensity: float


class TeacherFrames:
    """Prepares frames (one thread) and infers (another)."""

    def __init__(
        self,
        pipeline: LidarPipeline,
        clouds: KeptClouds,
        transforms: TransformSource,
        poses: PoseSource,
        frames: CloudFrames,
        *,
        deadline_s: float,
    ) -> None:
        """`deadline_s`: longest wait for transforms and odometry, from the cloud's arrival."""
        self._pipeline, self._clouds = pipeline, clouds
        self._transforms, self._poses, self._frames = transforms, poses, frames
        self._stopped = threading.Event()
        self._grace = GracePeriod(deadline_s, self._stopped)

    def stop_waiting(self) -> None:
        """From now on wait for no transform."""
        self._stopped.set()

    def prepare(self, record: Frame) -> None:
        """The engine's inputs; raises KdError where the frame's own cloud cannot be read or placed."""
        started_s = time.monotonic()
        anchor = record.messages[0]
        self._locate(record)
        base_from_lidar = self._mounting(anchor)
        windows = self._clouds.window(anchor)
        windows[anchor.lidar] = [anchor, *(cloud for cloud in windows[anchor.lidar] if cloud is not anchor)]
        record.ages_ns = tuple(record.stamp_ns - own[0].stamp_ns if own else None for own in windows)
        record.missing = tuple(t for t, own in zip(self._clouds.topics, windows, strict=True) if not own)
        sweeps = [self._sweep(record, anchor, base_from_lidar, np.eye(4))]
        for cloud in (cloud for own in windows for cloud in own if cloud is not anchor):
            sweeps += self._older(record, cloud)
        record.stage_ms["wait"] = 1e3 * (started_s - record.arrival_s)
        record.stage_ms["calibration"] = 1e3 * (time.monotonic() - started_s)
        self._pipeline.prepare(record, sweeps)

    def infer(self, record: Frame) -> None:
        """Boxes of a prepared frame."""
        self._pipeline.infer(record)

    def _locate(self, record: Frame) -> None:
        """The robot's pose at the frame's time, waited for; a problem is noted where odometry does not reach it."""
        anchor, pose, problem = record.messages[0], None, ""

        def missing(at_ns: int) -> set[str]:
            nonlocal pose, problem
            lacking = set()
            try:
                pose, problem = self._poses.lookup(at_ns), ""
            except CalibrationError as error:
                pose, problem = None, str(error)
                lacking.add("odometry")
            try:
                self._transforms.lookup(self._frames.base, anchor.frame_id, at_ns)
            except CalibrationError:
                lacking.add(anchor.frame_id)
            return lacking

        self._grace.wait(missing, record.stamp_ns, record.arrival_s)
        record.odom_from_base = pose
        if problem:
            record.note("frames_without_pose", f"no pose of the robot for this frame, so no older sweeps: {problem}")

    def _mounting(self, cloud: KeptCloud) -> np.ndarray:
        """`base_from_lidar` (4, 4) at the cloud's time; raises CalibrationError where tf does not know it."""
        if not cloud.frame_id:
            raise CalibrationError("clouds have no frame_id; set it to the LiDAR's frame")
        return self._transforms.lookup(self._frames.base, cloud.frame_id, cloud.stamp_ns)

    def _older(self, record: Frame, cloud: KeptCloud) -> list[Sweep]:
        """A further sweep, moved by odometry; none, with a note, where it cannot be read or placed."""
        if record.odom_from_base is None:
            return []
        try:
            motion = invert(record.odom_from_base) @ self._poses.lookup(cloud.stamp_ns)
            return [self._sweep(record, cloud, self._mounting(cloud), motion)]
        except KdError as error:
            record.note("sweeps_left_out", f"a sweep {_age_s(record, cloud):.2f} s old is left out: {error}")
            return []

    def _sweep(self, record: Frame, cloud: KeptCloud, mounting: np.ndarray, motion: np.ndarray) -> Sweep:
        if cloud.read is None:
            cloud.read = lidar_points(deserialise(cloud.cdr, PointCloud2), self._frames.full_intensity)
        kind, sentence = cloud.read.problem
        if sentence and sentence not in record.problems.get(kind, ()):
            record.note(kind, sentence)
        return Sweep(cloud.read.points, mounting, motion, _age_s(record, cloud), self._frames.full_intensity)


def _age_s(record: Frame, cloud: KeptCloud) -> float:
    return (record.stamp_ns - cloud.stamp_ns) / 1e9
