"""A robot with two cameras and a LiDAR, and what its student and teacher answer: all messages of a moment, as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.bags import messages
from kd_perception.bags.frame_file import RecordedMessage
from kd_perception.bags.messages import BAG
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import make_transform
from kd_perception.messages.detections import Detections, kd_detections
from support.kept_frames import T0, S, recorded

CAMERAS = ring_rig(2, 352, 128)  # ahead and behind
NAMES = tuple(camera.name for camera in CAMERAS)
STUDENT, TEACHER = "/bev_student/output", "/lidar_teacher/output"
SPEED = 5.0  # m/s along x
AHEAD = np.array([1.0, 0.0, 0.0, 0.0])


def boxes(*rows: tuple, classes: ClassList = NUSCENES) -> Boxes:
    """Standing boxes of (class name, x, y, score)."""
    count = len(rows)
    return Boxes(
        np.array([[x, y, 1.0] for _, x, y, _ in rows]).reshape(count, 3),
        np.tile([4.0, 2.0, 1.5], (count, 1)),
        np.zeros(count),
        np.zeros((count, 2)),
        np.array([classes.label(name) for name, *_ in rows], np.int64),
        np.array([score for *_, score in rows], float),
        classes,
    )


@dataclass(frozen=True)
class Moment:
    """What happens at `seconds`: the student's exposure; the teacher's cloud is `cloud_s` later.

    student, teacher: rows of `boxes` in base_link at their own time, None for no answer; masked: cameras the student
    did without.
    """

    seconds: float
    student: Sequence[tuple] | None = ()
    teacher: Sequence[tuple] | None = ()
    cloud_s: float = 0.05
    masked: tuple[str, ...] = ()
    frame: str = "base_link"
    teacher_classes: ClassList = NUSCENES
    cloud: np.ndarray | None = None  # (N, 3) in the LiDAR's frame; None: all around

    @property
    def stamp_ns(self) -> int:
        """The exposure."""
        return T0 + round(self.seconds * S)

    @property
    def cloud_ns(self) -> int:
        """The cloud's stamp."""
        return self.stamp_ns + round(self.cloud_s * S)

    def sensors(self) -> list[RecordedMessage]:
        """Images, calibration and cloud, transforms and odometry 0.3 s around."""
        found = [recorded("/tf_static", messages.tf(0, _mountings()), self.stamp_ns)]
        for step in range(-6, 7):
            at_ns = self.stamp_ns + step * S // 20
            pose = make_transform(AHEAD, [SPEED * (at_ns - T0) / S, 0.0, 0.0])
            found.append(recorded("/tf", messages.tf(at_ns, [("odom", "base_link", pose)]), at_ns))
            drive = messages.odometry(at_ns, pose, np.array([SPEED, 0.0, 0.0]), np.zeros(3))
            found.append(recorded("/odom", drive, at_ns))
        for index, camera in enumerate(CAMERAS):
            at_ns = self.stamp_ns + index * S // 100
            info = BAG.camera_info(camera, camera.name, at_ns)
            found.append(recorded(f"/{camera.name}/camera_info", info, at_ns))
            picture = BAG.compressed_image(at_ns, camera.name, bytes([index, 1, 2, 3]) * 50, "jpeg")
            found.append(recorded(f"/{camera.name}/image/compressed", picture, at_ns))
        found.append(recorded("/LIDAR_TOP/points", self._points(), self.cloud_ns))
        return sorted(found, key=lambda message: message.received_ns)

    def answers(self) -> list[RecordedMessage]:
        """What both sides say, the student first, half a second later."""
        found = []
        later_ns = self.cloud_ns + S // 2
        if self.student is not None:
            ages = [-10.0 * index for index in range(len(NAMES))]
            status = BAG.make(
                "kd_msgs/msg/FrameStatus",
                header=BAG.header(self.stamp_ns, "base_link"),
                camera_names=list(NAMES),
                camera_age_ms=np.array(ages),
                missing_cameras=list(self.masked),
            )
            found += [
                recorded(f"{STUDENT}/objects", self._detections(self.student, self.stamp_ns, NUSCENES), later_ns),
                recorded(f"{STUDENT}/status", status, later_ns),
            ]
        if self.teacher is not None:
            status = BAG.make("kd_msgs/msg/FrameStatus", header=BAG.header(self.cloud_ns, "base_link"))
            objects = self._detections(self.teacher, self.cloud_ns, self.teacher_classes)
            found += [
                recorded(f"{TEACHER}/objects", objects, later_ns + 1),
                recorded(f"{TEACHER}/status", status, later_ns + 2),
            ]
        return found

    def _detections(self, rows: Sequence[tuple], stamp_ns: int, classes: ClassList):  # noqa: ANN202 - rosbags makes its class
        return kd_detections(BAG, Detections(boxes(*rows, classes=classes), stamp_ns, self.frame, "test"))

    def _points(self):  # noqa: ANN202 - rosbags makes its class
        turns = np.linspace(0.0, 2.0 * np.pi, 720)
        around = np.column_stack([10.0 * np.cos(turns), 10.0 * np.sin(turns), np.zeros(720)])
        xyz = around if self.cloud is None else self.cloud
        return messages.point_cloud(self.cloud_ns, "LIDAR_TOP", np.column_stack([xyz, np.zeros((len(xyz), 2))]))


def _mountings() -> list[tuple[str, str, np.ndarray]]:
    cameras = [("base_link", camera.name, camera.ego_from_camera) for camera in CAMERAS]
    return [*cameras, ("base_link", "LIDAR_TOP", make_transform(AHEAD, [0.0, 0.0, 1.8]))]
