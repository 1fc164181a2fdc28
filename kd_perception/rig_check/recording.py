"""What a bag holds of a rig: calibrations, transforms and time stamps of all messages.

This first pass looks at every header, CameraInfo and transform. A second one (`moments`) decodes the images and clouds
of a few moments, so that memory does not grow with the bag.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from kd_perception.bags.reader import BagReader
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import invert
from kd_perception.rig_check.topics import CameraTopics, TransformTopics, find_cameras, find_cloud, find_transforms
from kd_perception.ros.cameras import from_camera_info
from kd_perception.ros.cdr import read_header
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.geometry import from_transform
from kd_perception.ros.rectified import AUTO, rectified_cameras
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf_buffer import TransformBuffer

ALL_OF_IT_S = 1e9  # seconds of transforms to keep
FIXED_FRAMES = ("odom", "map", "world")  # in which the robot moves, the smoothest first (REP-105)
INFO_FIELDS = ("width", "height", "distortion_model", "binning_x", "binning_y", "roi")
INFO_MATRICES = ("k", "d", "r", "p")

Progress = Callable[[int, int], None]


@dataclass
class CameraRecord:
    """One camera over the whole bag: header and recording stamps (ns) of its images, its distinct calibrations."""

    topics: CameraTopics
    stamps_ns: list[int] = field(default_factory=list)
    logged_ns: list[int] = field(default_factory=list)
    image_frames: Counter[str] = field(default_factory=Counter)
    infos: list[tuple[int, CameraInfo]] = field(default_factory=list)  # (stamp, message), where the content changes

    @property
    def name(self) -> str:
        """The camera's name in all reports."""
        return self.topics.name

    @property
    def image_frame(self) -> str:
        """The frame that most images name; where it differs from CameraInfo's, it counts, as for the detector."""
        return max(self.image_frames, key=self.image_frames.__getitem__, default="")

    def info_at(self, stamp_ns: int) -> CameraInfo:
        """The calibration that holds at a time; raises CalibrationError if there is none at all."""
        if not self.infos:
            where = f"on {self.topics.info}" if self.topics.info else f"next to {self.topics.image}"
            raise CalibrationError(
                f"camera '{self.name}': no CameraInfo {where}; record it, or name its topic "
                f"(--camera {self.name}={self.topics.image},INFO_TOPIC)"
            )
        return [message for at_ns, message in self.infos if at_ns <= stamp_ns or at_ns == self.infos[0][0]][-1]


@dataclass
class Recording:
    """A bag after the first pass. parents: child frame -> parent; tf_problems: sentences on refused transforms;
    problems: those on what the bag lacks."""

    path: Path
    cameras: tuple[CameraRecord, ...]
    cloud_topic: str
    cloud_frame: str = ""
    cloud_stamps_ns: list[int] = field(default_factory=list)
    cloud_logged_ns: list[int] = field(default_factory=list)
    transforms: TransformBuffer = field(default_factory=lambda: TransformBuffer(ALL_OF_IT_S))
    parents: dict[str, str] = field(default_factory=dict)
    tf_problems: list[str] = field(default_factory=list)
    problems: tuple[str, ...] = ()

    def camera(self, record: CameraRecord, base_frame: str, stamp_ns: int) -> Camera:
        """A camera as calibrated and mounted at a time; raises CalibrationError with a sentence."""
        info = record.info_at(stamp_ns)
        frame = (record.image_frame or info.header.frame_id).lstrip("/")
        if not frame:
            raise CalibrationError(
                f"camera '{record.name}': neither its images nor its CameraInfo have a frame_id; set both to the "
                "camera's optical frame"
            )
        try:
            mounting = self.transforms.lookup(base_frame, frame, stamp_ns)
        except TransformError as error:
            raise CalibrationError(f"camera '{record.name}': {error}") from error
        return from_camera_info(info, record.name, mounting, rectified=record.topics.rectified)

    def fixed_frame(self, base_frame: str) -> str:
        """The frame above `base_frame` in which the robot moves, or '' where tf has none."""
        above = []
        while base_frame in self.parents and self.parents[base_frame] not in above:
            base_frame = self.parents[base_frame]
            above.append(base_frame)
        return next((frame for frame in (*FIXED_FRAMES, *reversed(above)) if frame in above), "")

    def ego_motion(self, base_frame: str, to_ns: int, from_ns: int) -> np.ndarray:
        """Transform (4, 4) from base_link at one time to base_link at another; identity where tf does not tell."""
        fixed = self.fixed_frame(base_frame)
        if not fixed or to_ns == from_ns:
            return np.eye(4)
        try:
            to_pose = self.transforms.lookup(fixed, base_frame, to_ns)
            return invert(to_pose) @ self.transforms.lookup(fixed, base_frame, from_ns)
        except TransformError:
            return np.eye(4)


def read_recording(
    path: Path,
    cameras: Sequence[str] = (),
    cloud: str = "",
    progress: Progress | None = None,
    *,
    rectified: Sequence[str] = (AUTO,),
) -> Recording:
    """First pass over a bag; `cameras` and `cloud` as in find_cameras and find_cloud, `rectified` as the detector's.

    Raises DataError, or ConfigError for `rectified`.
    """
    reader = BagReader(path)
    try:
        found = find_cameras(reader.topics, cameras)
        flags = rectified_cameras(rectified, [topics.image for topics in found])
        records = tuple(CameraRecord(replace(each, rectified=flag)) for each, flag in zip(found, flags, strict=True))
        recording = Recording(Path(path), records, find_cloud(reader.topics, cloud))
    except DataError as error:
        raise DataError("; ".join([str(error), *reader.problems])) from error
    transforms = find_transforms(reader.topics, [record.topics.image for record in records])
    keep = _keepers(recording, transforms)
    malformed: dict[str, list[str]] = {}
    for count, (topic, logged_ns, data) in enumerate(reader.messages(), start=1):
        try:
            if topic in keep:
                keep[topic](data, logged_ns)
        except DataError as error:
            malformed.setdefault(topic, []).append(str(error))
        if progress is not None:
            progress(count, reader.message_count)
    unread = [f"topic {topic}: {len(errors)} messages left out: {errors[0]}" for topic, errors in malformed.items()]
    recording.problems = (*transforms.problems, *reader.problems, *unread)
    reader.close()
    return recording


def _keepers(recording: Recording, transforms: TransformTopics) -> dict[str, Callable[[bytes, int], None]]:
    """topic -> what takes a serialised message and its recording time (ns); it raises DataError if it is malformed."""
    keep = {topic: partial(_keep_transforms, recording) for topic in transforms.moving}
    keep |= {topic: partial(_keep_transforms, recording, static=True) for topic in transforms.fixed}
    if recording.cloud_topic:
        keep[recording.cloud_topic] = partial(_keep_cloud, recording)
    keep |= {record.topics.info: partial(_keep_info, record) for record in recording.cameras if record.topics.info}
    return keep | {record.topics.image: partial(_keep_image, record) for record in recording.cameras}


def _keep_image(record: CameraRecord, cdr: bytes, logged_ns: int) -> None:
    stamp_ns, frame = read_header(cdr)
    record.stamps_ns.append(stamp_ns)
    record.logged_ns.append(logged_ns)
    record.image_frames[frame] += 1


def _keep_cloud(recording: Recording, cdr: bytes, logged_ns: int) -> None:
    stamp_ns, recording.cloud_frame = read_header(cdr)
    recording.cloud_stamps_ns.append(stamp_ns)
    recording.cloud_logged_ns.append(logged_ns)


def _keep_info(record: CameraRecord, cdr: bytes, _: int) -> None:
    message = deserialise(cdr, CameraInfo)
    last = record.infos[-1][1] if record.infos else None
    if (
        last is None
        or any(getattr(last, name) != getattr(message, name) for name in INFO_FIELDS)
        or any(not np.array_equal(getattr(last, m), getattr(message, m), equal_nan=True) for m in INFO_MATRICES)
        or last.header.frame_id != message.header.frame_id
    ):
        record.infos.append((to_nanoseconds(message.header.stamp), message))


def _keep_transforms(recording: Recording, cdr: bytes, _: int, *, static: bool = False) -> None:
    for entry in deserialise(cdr, TFMessage).transforms:
        parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
        try:
            transform = from_transform(entry.transform)
            recording.transforms.set_transform(
                parent, child, to_nanoseconds(entry.header.stamp), transform, static=static
            )
            recording.parents[child] = parent
        except (TransformError, DataError) as error:
            sentence = f"tf {parent} -> {child} was refused: {error}"
            if sentence not in recording.tf_problems:
                recording.tf_problems.append(sentence)
