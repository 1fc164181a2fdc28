"""What the detector does with one frame: calibration and pose at its time, images to the pipeline, checks of cameras.

`prepare` and `infer` are the first two stages of `OverlappedStages`; each belongs to one thread.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.nodes.bev_student.camera_watch import CameraWatch
from kd_perception.nodes.bev_student.odometry import PoseSource
from kd_perception.ros.received import ReceivedImage
from kd_perception.ros.rig_source import CalibratedRig, RigSource
from kd_perception.runtime.camera_motion import CameraMotion
from kd_perception.runtime.pipeline import IMAGES_INPUT, VALID_INPUT, Detections, Pipeline, Prepared
from kd_perception.runtime.synchroniser import SyncedFrame

POLL_S = 0.002


@dataclass(frozen=True)
class Trigger:
    """A frame that shall be answered; resets: how often the past has become void so far; reset_reason: why the last
    time. Frames in between may be dropped: the count tells whether one of them was the first after a reset."""

    frame: SyncedFrame[ReceivedImage]
    resets: int = 0
    reset_reason: str = ""


@dataclass(frozen=True)
class ReadyFrame:
    """A frame that only lacks inference. masked: cameras without a usable image; started_s: steady time at which its
    preparation began; calibration_ms: what rig, tables and pose took; problems: kind -> sentences for diagnostics."""

    prepared: Prepared
    masked: frozenset[str]
    odom_from_base: np.ndarray | None
    started_s: float
    calibration_ms: float
    problems: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inferred:
    """A frame's boxes, and what is to be told of its preparation."""

    ready: ReadyFrame
    detections: Detections


class Patience:
    """Waits for what may still come; what was waited for in vain is not waited for again until it is there."""

    def __init__(self, deadline_s: float, hurry: threading.Event) -> None:
        self._deadline_s = deadline_s
        self._hurry = hurry
        self._given_up: set[str] = set()

    def wait(self, missing: Callable[[], set[str]], since_s: float) -> None:
        """Until nothing is missing that has not been given up, at most `deadline_s` after steady time `since_s`."""
        while True:
            still = missing()
            self._given_up &= still
            if still <= self._given_up or self._hurry.is_set():
                return
            if time.monotonic() - since_s > self._deadline_s:
                self._given_up |= still
                return
            self._hurry.wait(POLL_S)


class FrameDetector:
    """Prepares frames (one thread) and infers (another), in order."""

    def __init__(
        self,
        pipeline: Pipeline,
        rig_source: RigSource,
        poses: PoseSource,
        watch: CameraWatch,
        deadline_s: float,
        camera_motion: CameraMotion | None = None,
    ) -> None:
        """`deadline_s`: longest wait for calibration and pose, from the anchor image's arrival.

        camera_motion: places cameras that fire apart; None takes them to fire together.
        """
        self._pipeline = pipeline
        self._rig_source = rig_source
        self._poses = poses
        self._watch = watch
        self._camera_motion = camera_motion
        self._hurry = threading.Event()
        self._calibrated = Patience(deadline_s, self._hurry)
        self._located = Patience(deadline_s, self._hurry)
        self._resets = 0
        self._known: dict[str, Camera] = {}  # each camera as it was calibrated last

    def hurry(self) -> None:
        """From now on wait for nothing."""
        self._hurry.set()

    def prepare(self, trigger: Trigger) -> ReadyFrame:
        """Calibration, pose and the engine's inputs; raises CalibrationError where the anchor has no calibration."""
        frame, started_s = trigger.frame, time.monotonic()
        problems: dict[str, list[str]] = {}
        rig = self._rig(frame)
        changed = self._changed(rig)
        if changed:
            problems["calibration_changes"] = [f"the calibration of {', '.join(changed)} has changed; in use from now"]
        pose = None
        if self._pipeline.needs_pose or self._camera_motion is not None:
            pose = self._pose(frame, problems)
        self._pipeline.set_rig(self._placed(rig, frame, problems))
        calibrated_s = time.monotonic()
        images, unreadable = self._images(frame, rig, problems)
        prepared = self._pipeline.prepare(images)
        refused = {**unreadable, **prepared.rejected}
        problems.setdefault("camera_problems", []).extend([*rig.problems.values(), *refused.values()])
        self._look_for_black(prepared, problems)
        masked = frozenset({*prepared.missing, *refused})
        return ReadyFrame(prepared, masked, pose, started_s, 1e3 * (calibrated_s - started_s), problems)

    def infer(self, trigger: Trigger, ready: ReadyFrame) -> Inferred:
        """Boxes of a prepared frame."""
        if trigger.resets != self._resets:
            self._pipeline.reset(trigger.reset_reason)
            self._resets = trigger.resets
        return Inferred(ready, self._pipeline.infer(ready.prepared, trigger.frame.stamp_ns, ready.odom_from_base))

    def _rig(self, frame: SyncedFrame[ReceivedImage]) -> CalibratedRig:
        """The calibration at the frame's time, waited for where a camera with an image lacks it."""
        names = self._rig_source.names
        needed = {name for name, image in zip(names, frame.images, strict=True) if image is not None}
        rig = self._rig_source.rig(frame.stamp_ns)

        def missing() -> set[str]:
            nonlocal rig
            if rig.problems:
                rig = self._rig_source.rig(frame.stamp_ns)
            return needed & set(rig.problems)

        self._calibrated.wait(missing, frame.arrival_s)
        if names[0] in rig.problems:
            raise CalibrationError(rig.problems[names[0]])
        # A masked camera stays where it was: tables need not follow a transform that comes and goes.
        steady = [
            self._known.get(camera.name, camera) if camera.name in rig.problems else camera for camera in rig.cameras
        ]
        return CalibratedRig(tuple(steady), rig.problems)

    def _placed(
        self, rig: CalibratedRig, frame: SyncedFrame[ReceivedImage], problems: dict[str, list[str]]
    ) -> tuple[Camera, ...]:
        """The cameras, each where it was at its own exposure if that is wanted; a problem told where it is unknown."""
        if self._camera_motion is None:
            return rig.cameras
        cameras, problem = self._camera_motion.at_anchor(rig.cameras, frame.stamp_ns, frame.ages_ns)
        self._note(problems, "camera_motion_unknown", problem)
        return cameras

    def _changed(self, rig: CalibratedRig) -> list[str]:
        """Names of cameras whose calibration differs from the last one they had."""
        calibrated = [camera for camera in rig.cameras if camera.name not in rig.problems]
        changed = [
            camera.name
            for camera in calibrated
            if camera.name in self._known and not camera.same_calibration(self._known[camera.name])
        ]
        self._known |= {camera.name: camera for camera in calibrated}
        return changed

    def _pose(self, frame: SyncedFrame[ReceivedImage], problems: dict[str, list[str]]) -> np.ndarray | None:
        """`odom_from_base` at the frame's time; None, and a problem told, where odometry does not reach it."""
        pose, problem = None, ""
        youngest_ns = max(-age for age in frame.ages_ns if age is not None) if self._camera_motion is not None else 0

        def missing() -> set[str]:
            nonlocal pose, problem
            try:
                self._poses.lookup(frame.stamp_ns + youngest_ns)  # of a camera that fired after the anchor
                pose, problem = self._poses.lookup(frame.stamp_ns), ""
            except CalibrationError as error:
                problem = str(error)
            return {"odometry"} if problem else set()

        self._located.wait(missing, frame.arrival_s)
        if problem:
            problems["frames_without_pose"] = [f"no pose of the robot for this frame: {problem}"]
        return pose

    def _images(
        self, frame: SyncedFrame[ReceivedImage], rig: CalibratedRig, problems: dict[str, list[str]]
    ) -> tuple[list[memoryview | np.ndarray | None], dict[str, str]]:
        """Images as the pipeline takes them (None: missing or uncalibrated); camera name -> why one is unreadable."""
        images: list[memoryview | np.ndarray | None] = []
        unreadable = {}
        for index, (name, message) in enumerate(zip(self._rig_source.names, frame.images, strict=True)):
            image = None
            if message is not None:
                try:
                    image = message.content()
                    self._note(problems, "frozen_images", self._watch.frozen(index, message.stamp_ns, image))
                except DataError as error:
                    unreadable[name] = f"camera '{name}': {error}"
            images.append(None if name in rig.problems else image)
        return images, unreadable

    def _look_for_black(self, prepared: Prepared, problems: dict[str, list[str]]) -> None:
        for view in range(self._pipeline.views // 2, len(prepared.inputs[VALID_INPUT]), self._pipeline.views):
            if prepared.inputs[VALID_INPUT][view]:  # of several views of a camera the middle one
                sentence = self._watch.black(view // self._pipeline.views, prepared.inputs[IMAGES_INPUT][view])
                self._note(problems, "black_images", sentence)

    @staticmethod
    def _note(problems: dict[str, list[str]], kind: str, sentence: str) -> None:
        if sentence:
            problems.setdefault(kind, []).append(sentence)
