"""What the detector does with one frame: calibration and pose at its time, images to the pipeline, checks of cameras.

`prepare` and `infer` are the first two stages of `OverlappedStages`; each belongs to one thread.
"""

import threading
import time

import numpy as np

from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.nodes.bev_student.camera_watch import CameraWatch
from kd_perception.nodes.common.grace_period import GracePeriod
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.ros.received import ReceivedImage
from kd_perception.ros.rig_source import CalibratedRig, RigSource
from kd_perception.runtime.camera_motion import CameraMotion
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import IMAGES_INPUT, VALID_INPUT
from kd_perception.runtime.pipeline_exchange import PipelineExchange

Frame = FrameRecord[ReceivedImage]


class FrameDetector:
    """Prepares frames (one thread) and infers (another), in order; `runtime.frame` says what each fills in."""

    def __init__(
        self,
        students: PipelineExchange,
        rig_source: RigSource,
        poses: PoseSource,
        watch: CameraWatch,
        *,
        deadline_s: float,
        camera_motion: CameraMotion | None = None,
    ) -> None:
        """`deadline_s`: longest wait for calibration and pose, from the anchor image's arrival.

        camera_motion: places cameras that fire apart; None takes them to fire together.
        """
        self._students = students
        self._rig_source = rig_source
        self._poses = poses
        self._watch = watch
        self._camera_motion = camera_motion
        self._stopped = threading.Event()
        self._calibrated = GracePeriod(deadline_s, self._stopped)
        self._located = GracePeriod(deadline_s, self._stopped)
        self._resets = 0
        self._noted_frames: set[str] = set()
        self._known: dict[str, Camera] = {}  # each camera as it was calibrated last

    def stop_waiting(self) -> None:
        """From now on wait for neither calibration nor pose."""
        self._stopped.set()

    def prepare(self, record: Frame) -> None:
        """Calibration, pose and the engine's inputs; raises CalibrationError where the anchor has no calibration."""
        started_s = time.monotonic()
        self._calibrate(record)
        if self._students.current.needs_pose or self._camera_motion is not None:
            self._locate(record)
        if self._camera_motion is not None:
            self._place_cameras(record)
        with self._students.preparing(record) as pipeline:
            pipeline.set_rig(record.cameras)
            record.stage_ms["wait"] = 1e3 * (started_s - record.arrival_s)
            record.stage_ms["calibration"] = 1e3 * (time.monotonic() - started_s)
            self._read_images(record)
            pipeline.prepare(record)
        record.note("camera_problems", *record.uncalibrated.values(), *record.rejected.values())
        self._look_for_black(record, pipeline.views)

    def infer(self, record: Frame) -> None:
        """Boxes of a prepared frame."""
        is_reset, self._resets = record.resets != self._resets, record.resets
        self._students.infer(record, record.reset_cause if is_reset else "")

    def _calibrate(self, record: Frame) -> None:
        """The rig at the frame's time, and which of its cameras have another calibration than before."""
        mismatches = self._take_image_frames(record)
        rig = self._wait_for_rig(record)
        for name, sentence in mismatches.items():
            if name not in rig.problems and sentence not in self._noted_frames:
                self._noted_frames.add(sentence)
                record.note("frame_mismatches", sentence)
        cameras, changed = [], []
        for camera in rig.cameras:
            known = self._known.get(camera.name, camera)
            if camera.name in rig.problems:
                camera = known  # a masked camera stays where it was: tables need not follow tf that comes and goes
            else:
                if not camera.same_calibration(known):
                    changed.append(camera.name)
                self._known[camera.name] = camera
            cameras.append(camera)
        record.cameras, record.uncalibrated = tuple(cameras), rig.problems
        if changed:
            record.note("calibration_changes", f"the calibration of {', '.join(changed)} has changed; in use from now")

    def _take_image_frames(self, record: Frame) -> dict[str, str]:
        """Take the tf frames that images state; camera name -> sentence where it differs from CameraInfo's."""
        sentences = {
            self._rig_source.names[index]: self._rig_source.set_image_frame(index, message.frame_id)
            for index, message in enumerate(record.messages)
            if message is not None
        }
        return {name: sentence for name, sentence in sentences.items() if sentence}

    def _wait_for_rig(self, record: Frame) -> CalibratedRig:
        """The calibration at the frame's time, waited for where a camera with an image lacks it."""
        names = self._rig_source.names
        needed = {name for name, message in zip(names, record.messages, strict=True) if message is not None}
        rig = None

        def missing(at_ns: int) -> set[str]:
            nonlocal rig
            rig = self._rig_source.rig(at_ns)
            return needed & set(rig.problems)

        self._calibrated.wait(missing, record.stamp_ns, record.arrival_s)
        if names[0] in rig.problems:
            raise CalibrationError(rig.problems[names[0]])
        return rig

    def _locate(self, record: Frame) -> None:
        """The robot's pose at the frame's time; a problem is noted where odometry does not reach it."""
        pose, problem = None, ""
        youngest_ns = max(-age for age in record.ages_ns if age is not None) if self._camera_motion is not None else 0

        def missing(at_ns: int) -> set[str]:
            nonlocal pose, problem
            try:
                if youngest_ns:
                    self._poses.lookup(at_ns + youngest_ns)  # of a camera that fired after the anchor
                pose, problem = self._poses.lookup(at_ns), ""
            except CalibrationError as error:
                pose, problem = None, str(error)
            return {"odometry"} if problem else set()

        self._located.wait(missing, record.stamp_ns, record.arrival_s)
        record.odom_from_base = pose
        if problem:
            record.note("frames_without_pose", f"no pose of the robot for this frame: {problem}")

    def _place_cameras(self, record: Frame) -> None:
        """Each camera where it was at its own exposure; a problem is noted where that is unknown."""
        record.cameras, problem = self._camera_motion.at_anchor(record.cameras, record.stamp_ns, record.ages_ns)
        if problem:
            record.note("camera_motion_unknown", problem)

    def _read_images(self, record: Frame) -> None:
        """Images as the pipeline takes them (None: missing or uncalibrated), and which cannot be read."""
        images: list[memoryview | np.ndarray | None] = []
        for index, (name, message) in enumerate(zip(self._rig_source.names, record.messages, strict=True)):
            image = None
            if message is not None:
                try:
                    image = message.content()
                    record.note("frozen_images", self._watch.frozen(index, message.stamp_ns, image))
                except DataError as error:
                    record.rejected[name] = f"camera '{name}': {error}"
            images.append(None if name in record.uncalibrated else image)
        record.images = images

    def _look_for_black(self, record: Frame, views: int) -> None:
        images, valid = record.inputs[IMAGES_INPUT], record.inputs[VALID_INPUT]
        for view in range(views // 2, len(valid), views):  # of several views of a camera the middle one
            if valid[view]:
                record.note("black_images", self._watch.black(view // views, images[view]))
