"""What a bag holds of a rig: calibrations, transforms and time stamps of all messages, and a few moments in full.

Two passes: the first looks at every header, CameraInfo and transform, the second decodes the images and clouds of a few
moments, so that memory does not grow with the bag.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from kd_perception.bags.reader import BagReader
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert
from kd_perception.images.decoding import decode_image
from kd_perception.rig_check.topics import COMPRESSED, CameraTopics, find_cameras, find_cloud
from kd_perception.ros.cameras import from_camera_info
from kd_perception.ros.cdr import read_header
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.geometry import from_transform
from kd_perception.ros.images import from_image
from kd_perception.ros.pointclouds import finite_xyz
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf_buffer import TransformBuffer

ALL_OF_IT_S = 1e9  # seconds of transforms to keep
FIXED_FRAMES = ("odom", "map", "world")  # in which the robot moves, the smoothest first (REP-105)
PICTURE_WIDTH = 800  # pixels: images are kept no larger
MOST_POINTS = 60_000  # of one cloud; more would only take time

Progress = Callable[[int, int], None]


@dataclass
class CameraRecord:
    """One camera over the whole bag: header and recording stamps (ns) of its images, its distinct calibrations."""

    topics: CameraTopics
    stamps_ns: list[int] = field(default_factory=list)
    logged_ns: list[int] = field(default_factory=list)
    image_frames: set[str] = field(default_factory=set)
    infos: list[tuple[int, CameraInfo]] = field(default_factory=list)  # (stamp, message), where the content changes

    @property
    def name(self) -> str:
        """The camera's name in all reports."""
        return self.topics.name

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
    transforms: TransformBuffer = field(default_factory=lambda: TransformBuffer(ALL_OF_IT_S))
    parents: dict[str, str] = field(default_factory=dict)
    tf_problems: list[str] = field(default_factory=list)
    problems: tuple[str, ...] = ()

    def camera(self, record: CameraRecord, base_frame: str, stamp_ns: int) -> Camera:
        """A camera as calibrated and mounted at a time; raises CalibrationError with a sentence."""
        info = record.info_at(stamp_ns)
        if not info.header.frame_id:
            raise CalibrationError(
                f"camera '{record.name}': its CameraInfo has no frame_id; set it to the camera's optical frame"
            )
        try:
            mounting = self.transforms.lookup(base_frame, info.header.frame_id.lstrip("/"), stamp_ns)
        except TransformError as error:
            raise CalibrationError(f"camera '{record.name}': {error}") from error
        return from_camera_info(info, record.name, mounting)

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


@dataclass(frozen=True)
class CameraView:
    """One camera's image near a moment: its stamp, its size as published (width, height), at most 800 px wide."""

    stamp_ns: int
    size: tuple[int, int]
    image: np.ndarray


@dataclass(frozen=True)
class Moment:
    """One time in the bag: points (N, 3) in base_link at `stamp_ns` (none without a cloud), views by camera name.

    base_from_cloud (4, 4): where the sensor sits; problems: sentences on images and clouds that could not be read.
    """

    stamp_ns: int
    points: np.ndarray
    base_from_cloud: np.ndarray
    views: dict[str, CameraView]
    problems: tuple[str, ...]


def read_recording(
    path: Path, cameras: Sequence[str] = (), cloud: str = "", progress: Progress | None = None
) -> Recording:
    """First pass over a bag; `cameras` and `cloud` as in find_cameras and find_cloud. Raises DataError."""
    reader = BagReader(path)
    records = tuple(CameraRecord(topics) for topics in find_cameras(reader.topics, cameras))
    recording = Recording(Path(path), records, find_cloud(reader.topics, cloud))
    keep = _keepers(recording)
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
    recording.problems = (*reader.problems, *unread)
    reader.close()
    return recording


def read_moments(recording: Recording, base_frame: str, count: int, progress: Progress | None = None) -> list[Moment]:
    """Second pass: `count` moments evenly over the bag, at clouds where there are any, else at the first camera's."""
    stamps = recording.cloud_stamps_ns or next((r.stamps_ns for r in recording.cameras if r.stamps_ns), [])
    middles = (np.arange(min(count, len(stamps))) + 0.5) * len(stamps) / max(1, min(count, len(stamps)))
    chosen = [sorted(stamps)[int(middle)] for middle in middles]
    wanted: dict[tuple[str, int], bytes | None] = {}
    nearest: dict[tuple[int, str], int] = {}
    for stamp_ns in chosen:
        if recording.cloud_stamps_ns:
            wanted[recording.cloud_topic, stamp_ns] = None
        for record in recording.cameras:
            if record.stamps_ns:
                nearest[stamp_ns, record.name] = min(record.stamps_ns, key=lambda ns, at=stamp_ns: abs(ns - at))
                wanted[record.topics.image, nearest[stamp_ns, record.name]] = None
    _fetch(recording.path, wanted, progress)
    return [_moment(recording, base_frame, stamp_ns, wanted, nearest) for stamp_ns in chosen]


def _keepers(recording: Recording) -> dict[str, Callable[[bytes, int], None]]:
    """topic -> what takes a serialised message and its recording time (ns); it raises DataError if it is malformed."""
    keep = {
        "/tf": partial(_keep_transforms, recording),
        "/tf_static": partial(_keep_transforms, recording, static=True),
    }
    if recording.cloud_topic:
        keep[recording.cloud_topic] = partial(_keep_cloud, recording)
    keep |= {record.topics.info: partial(_keep_info, record) for record in recording.cameras if record.topics.info}
    return keep | {record.topics.image: partial(_keep_image, record) for record in recording.cameras}


def _keep_image(record: CameraRecord, cdr: bytes, logged_ns: int) -> None:
    stamp_ns, frame = read_header(cdr)
    record.stamps_ns.append(stamp_ns)
    record.logged_ns.append(logged_ns)
    record.image_frames.add(frame)


def _keep_cloud(recording: Recording, cdr: bytes, _: int) -> None:
    stamp_ns, recording.cloud_frame = read_header(cdr)
    recording.cloud_stamps_ns.append(stamp_ns)


def _keep_info(record: CameraRecord, cdr: bytes, _: int) -> None:
    message = deserialise(cdr, CameraInfo)
    last = record.infos[-1][1] if record.infos else None
    content = ("width", "height", "distortion_model", "binning_x", "binning_y", "roi")
    if (
        last is None
        or any(getattr(last, name) != getattr(message, name) for name in content)
        or last.header.frame_id != message.header.frame_id
        or not np.array_equal(last.k, message.k, equal_nan=True)
        or not np.array_equal(last.d, message.d, equal_nan=True)
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


def _fetch(path: Path, wanted: dict[tuple[str, int], bytes | None], progress: Progress | None) -> None:
    """Fill in the serialised messages of (topic, header stamp)."""
    reader = BagReader(path)
    topics = {topic for topic, _ in wanted}
    for count, (topic, _, data) in enumerate(reader.messages(), start=1):
        if topic in topics:
            with suppress(DataError):  # the first pass has reported it
                key = (topic, read_header(data)[0])
                if key in wanted:
                    wanted[key] = data
        if progress is not None:
            progress(count, reader.message_count)
    reader.close()


def _moment(
    recording: Recording,
    base_frame: str,
    stamp_ns: int,
    data: dict[tuple[str, int], bytes | None],
    nearest: dict[tuple[int, str], int],
) -> Moment:
    points, base_from_cloud, views, problems = np.zeros((0, 3)), np.eye(4), {}, []
    if cloud := data.get((recording.cloud_topic, stamp_ns)):
        try:
            base_from_cloud = recording.transforms.lookup(base_frame, recording.cloud_frame.lstrip("/"), stamp_ns)
            xyz = finite_xyz(deserialise(cloud, PointCloud2)).astype(np.float64)
            xyz = xyz[np.abs(xyz).max(axis=1, initial=0.0) > 0]  # drivers fill missing returns with zeros
            points = apply(base_from_cloud, xyz[:: -(-len(xyz) // MOST_POINTS) or 1])
        except (TransformError, DataError) as error:
            problems.append(f"cloud {recording.cloud_topic}: {error}")
    for record in recording.cameras:
        at_ns = nearest.get((stamp_ns, record.name))
        cdr = data.get((record.topics.image, at_ns)) if at_ns is not None else None
        if cdr is not None:
            try:
                image = _read_image(cdr, record)
                size = (image.shape[1], image.shape[0])
                views[record.name] = CameraView(at_ns, size, _at_most(image, PICTURE_WIDTH))
            except DataError as error:
                problems.append(f"camera '{record.name}': {error}")
    return Moment(stamp_ns, points, base_from_cloud, views, tuple(problems))


def _read_image(cdr: bytes, record: CameraRecord) -> np.ndarray:
    """RGB image of a serialised message; raises DataError."""
    if record.topics.image_type == COMPRESSED:
        return decode_image(bytes(deserialise(cdr, CompressedImage).data), f"on {record.topics.image}")
    return from_image(deserialise(cdr, Image))


def _at_most(image: np.ndarray, width: int) -> np.ndarray:
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
