"""Compares the teacher's answer with the student's of the same time; a frame that cannot be compared says why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, PointCloud2

from kd_msgs.msg import Detection3DArray, FrameStatus
from kd_perception.continual.held_messages import HeldMessage, HeldMessages
from kd_perception.continual.keeping import Candidate
from kd_perception.continual.verdicts import (
    AZIMUTHS,
    CommonView,
    VerdictThresholds,
    covered_azimuths,
    judge,
    moved_to,
)
from kd_perception.errors import KdError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.transforms import apply, invert
from kd_perception.nodes.common.odometry import OdometryWatch, PoseSource, take_odometry
from kd_perception.nodes.hard_sample_recorder.gathering import SECOND_NS, FrameMessages, PairedAnswers
from kd_perception.nodes.hard_sample_recorder.inputs import RecorderTopics
from kd_perception.options.recorder import RecorderOptions
from kd_perception.ros.cdr import read_header
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.detections import from_detection_array
from kd_perception.ros.pointclouds import finite_xyz
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.tf import TransformSource

APART_NS = 60 * SECOND_NS  # no answer takes as long: the stamps are of two clocks
SKEW_NS = 5 * SECOND_NS  # no sensor's message is under way as long; UTC and TAI are 37 s apart
TIME_BACK_NS = 1_000_000_000  # odometry this much earlier than the last is of another drive
STILL_NS = 20_000_000  # a robot hardly moves in less: poses need not be known


class NotComparedError(KdError):
    """A frame that cannot be compared; `kind`: its counter in diagnostics."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True)
class KnownClasses:
    """The student's class list, and the classes that the teacher knows."""

    student: ClassList
    teacher: frozenset[str]

    @property
    def common(self) -> frozenset[str]:
        """Names that both know."""
        return self.teacher & set(self.student.names)


@dataclass(frozen=True)
class Surroundings3D:
    """Where things are: the rig, transforms and poses of the robot."""

    rig: RigSource
    transforms: TransformSource
    poses: PoseSource


class FrameJudge:
    """Makes candidates of the teacher's answers. Belongs to the worker's thread."""

    def __init__(
        self,
        held: HeldMessages,
        topics: RecorderTopics,
        messages: FrameMessages,
        classes: KnownClasses,
        places: Surroundings3D,
    ) -> None:
        self._held, self._topics, self._messages, self._classes, self._places = held, topics, messages, classes, places
        self._watch, self._watched_ns, self._odometry = OdometryWatch(), 0, 0
        self._last_skew_ns: int | None = None

    def candidate(self, teacher: HeldMessage, settings: RecorderOptions) -> Candidate:
        """The frame of an answer and what is disputed in it; raises NotComparedError, or KdError for what is broken."""
        pair = self._pair(teacher, settings)
        motion, odom_from_base = self._motion(pair)
        theirs = self._boxes(teacher, settings)
        seconds = (pair.stamp_ns - teacher.stamp_ns) / SECOND_NS
        view = self._view(pair, motion, settings.base_frame)
        thresholds = VerdictThresholds(settings.student_score, settings.teacher_score, settings.agreement)
        verdict = judge(self._boxes(pair.student, settings), moved_to(theirs, motion, seconds), view, thresholds)
        return Candidate(pair.stamp_ns, verdict, odom_from_base, lambda: self._messages.gather(pair), self._odometry)

    def _pair(self, teacher: HeldMessage, settings: RecorderOptions) -> PairedAnswers:
        """The student's answer nearest in time."""
        newest_ns = self._held.newest_ns(self._topics.student.status)
        if newest_ns is None:
            raise NotComparedError(
                "frames_without_student", "the teacher answers, but the student has not yet; see its own diagnostics"
            )
        late_ns = newest_ns - teacher.stamp_ns
        self._check_clocks(late_ns)
        if late_ns > settings.teacher_max_age_s * SECOND_NS:
            raise NotComparedError(
                "teacher_late",
                f"the teacher's answer came {late_ns / 1e9:.1f} s after its cloud, and messages are held for "
                f"{settings.teacher_max_age_s:g} s; raise teacher_max_age_s, or give the teacher a faster engine",
            )
        tolerance_ns = round(settings.pair_ms * 1e6)
        student = self._held.nearest(self._topics.student.objects, teacher.stamp_ns, tolerance_ns)
        statuses = (
            ()
            if student is None
            else self._held.between(self._topics.student.status, student.stamp_ns, student.stamp_ns)
        )
        if not statuses:
            raise NotComparedError(
                "frames_without_student",
                f"the student has answered no frame within {settings.pair_ms:g} ms of the teacher's cloud; it is "
                "slower, or its stamps are off: raise pair_ms, or look at its own diagnostics",
            )
        return PairedAnswers(teacher, student, deserialise(statuses[-1].message.cdr, FrameStatus))

    def _check_clocks(self, late_ns: int) -> None:
        """Raise NotComparedError where stamps are of two clocks; `late_ns`: from the teacher's to the student's.

        A skew that was not there at the last answer is no second clock: another recording has begun, or time was set.
        """
        skew_ns, before_ns = self._skew_ns(), self._last_skew_ns
        self._last_skew_ns = skew_ns
        if skew_ns is None:
            apart_ns, apart = abs(late_ns), abs(late_ns) > APART_NS
        else:
            apart_ns, apart = skew_ns, skew_ns > SKEW_NS and (before_ns is None or before_ns > SKEW_NS)
        if apart:
            raise NotComparedError(
                "clocks_apart",
                f"the stamps of clouds and images are {apart_ns / 1e9:.0f} s apart, so they are of two "
                "clocks; synchronise cameras and LiDAR, or let both drivers take the system's time",
            )

    def _skew_ns(self) -> int | None:
        """How far the clocks of cameras and LiDAR are apart: how much longer the newest image was on its way than the
        newest cloud, by its stamp and when it came; None without either."""
        anchor, lidar = self._topics.cameras[0].image, self._topics.clouds[0]
        newest = [self._held.newest(topic) for topic in (anchor, lidar)]
        if None in newest:
            return None
        image, cloud = (entry.message.received_ns - entry.stamp_ns for entry in newest)
        return abs(image - cloud)

    def _boxes(self, objects: HeldMessage, settings: RecorderOptions) -> Boxes:
        """A side's boxes of the classes that both know."""
        message = deserialise(objects.message.cdr, Detection3DArray)
        frame = message.header.frame_id.lstrip("/")
        if frame != settings.base_frame:
            raise NotComparedError(
                "foreign_frames",
                f"boxes on {objects.message.topic} are in frame '{frame}', not in '{settings.base_frame}'; set "
                "base_frame of all nodes to the same frame",
            )
        known = [entry for entry in message.detections if entry.class_name in self._classes.common]
        if message.detections and not known:
            names = ", ".join(sorted({entry.class_name for entry in message.detections}))
            raise NotComparedError(
                "foreign_classes",
                f"boxes on {objects.message.topic} are of {names}, which not both sides know; set `classes` and "
                "`teacher_classes` to the student's and the teacher's files",
            )
        message.detections = known
        return from_detection_array(message, self._classes.student)

    def _motion(self, pair: PairedAnswers) -> tuple[np.ndarray, np.ndarray | None]:
        """base_link at the student's time from base_link at the teacher's, and the pose at the student's in odom."""
        times = (pair.stamp_ns, pair.teacher.stamp_ns)
        self._take_odometry(min(times), max(times))
        try:
            student, teacher = (self._places.poses.lookup(stamp_ns) for stamp_ns in times)
        except KdError as error:
            if abs(times[0] - times[1]) > STILL_NS:
                raise NotComparedError(
                    "frames_without_pose", f"the robot's motion between image and cloud is unknown: {error}"
                ) from error
            return np.eye(4), None
        return invert(student) @ teacher, student

    def _take_odometry(self, first_ns: int, last_ns: int) -> None:
        """Read the odometry around a span that was not read yet. Behind a jump places are not those of before; raises
        NotComparedError where one is within the span."""
        known_ns = self._watched_ns
        for entry in self._messages.odometry(first_ns, last_ns):
            if known_ns - TIME_BACK_NS < entry.stamp_ns <= known_ns:
                continue
            inside, self._watched_ns = self._watched_ns != known_ns, entry.stamp_ns
            jump, refusal = take_odometry(deserialise(entry.message.cdr, Odometry), self._watch, self._places.poses)
            if refusal:
                raise NotComparedError("refused_odometry", refusal)
            self._odometry += bool(jump)
            if jump and inside:
                raise NotComparedError("odometry_jumps", f"{jump}, just between image and cloud")

    def _view(self, pair: PairedAnswers, motion: np.ndarray, base_frame: str) -> CommonView:
        """Where cameras and cloud both look; raises NotComparedError if they do nowhere."""
        rig = self._places.rig
        images = self._messages.images(pair)
        for index, (image, info) in enumerate(zip(images, self._messages.infos(pair), strict=True)):
            if info is not None:
                rig.set_info(index, deserialise(info.message.cdr, CameraInfo))
            if image is not None:
                rig.set_image_frame(index, read_header(image.message.cdr)[1])
        found = rig.rig(pair.stamp_ns)
        cameras = [
            camera
            for camera, image in zip(found.cameras, images, strict=True)
            if image is not None and camera.name not in found.problems
        ]
        if not cameras:
            why = next(iter(found.problems.values()), "the images of the student's frame are not held any more")
            raise NotComparedError("frames_without_cameras", f"no camera of the frame can be used: {why}")
        view = CommonView(cameras, self._covered(pair, motion, base_frame))
        if not view.overlaps:
            raise NotComparedError(
                "no_common_view",
                "the clouds cover no direction in which a camera looks, so nothing can be compared; check the mounting "
                "of LiDAR and cameras in tf, and lidar_topics",
            )
        return view

    def _covered(self, pair: PairedAnswers, motion: np.ndarray, base_frame: str) -> np.ndarray:
        """Directions that the newest cloud of any LiDAR covers."""
        covered = np.zeros(AZIMUTHS, bool)
        for topic in self._topics.clouds:
            clouds: Sequence[HeldMessage] = self._messages.clouds(topic, pair)
            if clouds:
                nearest = min(clouds, key=lambda entry: abs(entry.stamp_ns - pair.teacher.stamp_ns))
                cloud = deserialise(nearest.message.cdr, PointCloud2)
                base_from_lidar = self._places.transforms.lookup(
                    base_frame, cloud.header.frame_id.lstrip("/"), nearest.stamp_ns
                )
                covered |= covered_azimuths(apply(motion @ base_from_lidar, finite_xyz(cloud)))
        return covered
