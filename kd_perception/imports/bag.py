"""A bag with tf, CameraInfo, images and clouds as a nuScenes-format data set of one scene, or of some.

Keyframes are the labelled moments, or one every half a second without labels; of a recording of `hard_sample_recorder`
its kept frames, see kept_frames. Global is the frame above `base_link` in
which the robot moves (odom, map, world); ego is `base_link`. Compressed images keep their bytes, raw ones become PNG.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from kd_perception.atomic import write_bytes
from kd_perception.bags.reader import BagReader
from kd_perception.datasets.clouds import FULL_INTENSITY
from kd_perception.datasets.kept_table import KEPT_TABLE
from kd_perception.datasets.versions import BAG_VERSION
from kd_perception.datasets.written_tables import (
    LabelledBox,
    MountedLidar,
    SensorFile,
    WrittenKeyframe,
    WrittenTables,
    is_written,
)
from kd_perception.errors import CalibrationError, ConfigError, DataError
from kd_perception.geometry.box_geometry import count_points_in_boxes
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import apply
from kd_perception.images.decoding import check_format
from kd_perception.images.jpeg import is_jpeg
from kd_perception.imports.bag_labels import BagLabels
from kd_perception.imports.kept_frames import Keyframes, kept_keyframes, leading
from kd_perception.imports.moments import belonging, thinned
from kd_perception.imports.written import WrittenData
from kd_perception.rig_check.recording import CameraRecord, Recording, read_recording
from kd_perception.rig_check.topics import COMPRESSED
from kd_perception.ros.cdr import read_header
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.images import from_image
from kd_perception.ros.lidar_points import lidar_points

TOLERANCE_NS = 60_000_000  # a measurement further from a keyframe belongs to another moment
INTERVAL_NS = 500_000_000  # between keyframes without labels, as nuScenes has them
UPRIGHT = 0.9  # of the z axis of a frame in which boxes are given: yaw means nothing in a frame that lies on its side
MAX_NAMED = 3
NOT_MOVING = "tf has no frame above {} in which the robot moves: every pose is the same"
CLOUD = "sensor_msgs/msg/PointCloud2"
MICROSECOND = 1000


@dataclass(frozen=True)
class BagImport:
    """What is imported: `cameras` and `cloud` as find_cameras and find_cloud take them, `base_frame` for ego;
    `full_intensity`: of a cloud's brightest point, which becomes FULL_INTENSITY."""

    bag: Path
    out: Path
    labels: BagLabels | None = None
    cameras: Sequence[str] = ()
    cloud: str = ""
    base_frame: str = "base_link"
    keyframes_only: bool = False
    full_intensity: float = FULL_INTENSITY


@dataclass(frozen=True)
class _Measurement:
    """A message of a camera (a record) or the LiDAR (None): its stamp, and the keyframe that it belongs to."""

    record: CameraRecord | None
    stamp_ns: int
    keyframe: int
    is_key: bool


def import_bag(wanted: BagImport, progress: Callable[[int, int], None] | None = None) -> WrittenData:
    """Write the data set BAG_VERSION into `wanted.out`.

    Raises DataError or CalibrationError for a bag, labels or calibration that cannot be used, before anything is
    written.
    """
    if is_written(wanted.out, BAG_VERSION):
        raise ConfigError(f"{wanted.out} holds a data set {BAG_VERSION} already; choose another folder for --out")
    kept_frames = kept_keyframes(wanted.bag, wanted.labels, TOLERANCE_NS)  # says of an empty recording that it is one
    recording = read_recording(wanted.bag, wanted.cameras, wanted.cloud)
    world = recording.fixed_frame(wanted.base_frame)
    chosen = kept_frames or _keyframes(recording, wanted)
    moments = chosen.stamps_ns
    frames = {label.frame for label in wanted.labels.boxes} if wanted.labels else set()
    place = partial(_pose, recording, world or wanted.base_frame)
    for frame in sorted(frames):
        _check_upright(recording, wanted.base_frame, frame, moments[0])
    for record in recording.cameras:
        recording.camera(record, wanted.base_frame, record.stamps_ns[0] if record.stamps_ns else 0)
    with_labels = set(wanted.labels.stamps_ns) if wanted.labels else ()
    boxes = [_boxes_at(place, wanted.labels, stamp) if stamp in with_labels else [] for stamp in moments]
    writer = _Writer(recording, wanted, world, boxes)
    plan = _plan(recording, chosen, keyframes_only=wanted.keyframes_only)
    files = writer.write_files(plan, progress)
    keyframes = [
        WrittenKeyframe(stamp // MICROSECOND, files.get(index, ()), boxes[index]) for index, stamp in enumerate(moments)
    ]
    tables = WrittenTables(wanted.bag.stem)
    for name, indices in chosen.scenes:
        if usable := [keyframes[index] for index in indices if keyframes[index].files]:
            tables.add_scene(name, usable)
    kept = chosen.kept_rows([bool(frame.files) for frame in keyframes])
    tables.write(wanted.out, BAG_VERSION, {KEPT_TABLE: kept} if kept else None)
    standing = [] if world else [NOT_MOVING.format(wanted.base_frame)]
    return _told(writer.result, keyframes, [*standing, *chosen.problems])


def _told(written: WrittenData, keyframes: Sequence[WrittenKeyframe], problems: Sequence[str]) -> WrittenData:
    """What was written, with counts and sentences."""
    written.keyframes = sum(bool(frame.files) for frame in keyframes)
    written.boxes = sum(len(frame.boxes) for frame in keyframes if frame.files)
    written.problems = [*problems, *written.problems]
    if empty := [frame for frame in keyframes if not frame.files]:
        lost = sum(len(frame.boxes) for frame in empty)
        written.problems.append(f"{len(empty)} keyframes with {lost} boxes have no usable image or cloud")
    return written


class _Writer:
    """Writes the files of sensors, and counts the points in the boxes of each keyframe."""

    def __init__(self, recording: Recording, wanted: BagImport, world: str, boxes: list[Sequence[LabelledBox]]) -> None:
        self._recording, self._wanted = recording, wanted
        self._world, self._boxes = world, boxes
        self._lidar = _channel(recording.cloud_topic)
        self._clouds: list[tuple[str, str]] = []  # of each cloud the kind of its problem, and a sentence
        self.result = WrittenData(problems=[*recording.problems, *recording.tf_problems])

    def write_files(
        self, plan: Mapping[tuple[str, int], _Measurement], progress: Callable[[int, int], None] | None
    ) -> dict[int, list[SensorFile]]:
        """Second pass over the bag: files by keyframe."""
        files: dict[int, list[SensorFile]] = {entry.keyframe: [] for entry in plan.values()}
        refused: list[str] = []
        topics = {topic for topic, _ in plan}
        left = dict(plan)
        reader = BagReader(self._wanted.bag)
        clouds = [topic.name for topic in reader.topics if topic.type_name == CLOUD]
        if others := [name for name in clouds if name != self._recording.cloud_topic]:
            self.result.problems.append(f"clouds on {', '.join(others)} are left out; choose with --cloud")
        try:
            for count, (topic, _, cdr) in enumerate(reader.messages(), start=1):
                entry = left.pop((topic, read_header(cdr)[0]), None) if topic in topics else None
                if entry is not None:
                    try:
                        files[entry.keyframe].append(self._write(entry, cdr))
                    except (DataError, CalibrationError) as error:
                        refused.append(str(error))
                if progress is not None:
                    progress(count, reader.message_count)
        finally:
            reader.close()
        if refused:
            named = "; ".join(refused[:MAX_NAMED])
            self.result.problems.append(f"{len(refused)} of {len(plan)} messages were left out: {named}")
        told = dict(self._clouds)
        for kind, count in Counter(kind for kind, _ in self._clouds if kind).items():
            self.result.problems.append(f"{count} of {len(self._clouds)} {told[kind]}")
        self.result.files = sum(map(len, files.values()))
        if not self.result.files:
            raise DataError(f"no message of {self._wanted.bag} can be used: {'; '.join(self.result.problems)}")
        return files

    def _write(self, entry: _Measurement, cdr: bytes) -> SensorFile:
        pose = _pose(self._recording, self._world or self._wanted.base_frame, self._wanted.base_frame, entry.stamp_ns)
        stamp_us = entry.stamp_ns // MICROSECOND
        folder = "samples" if entry.is_key else "sweeps"
        if entry.record is None:
            return self._write_cloud(entry, cdr, pose)
        camera = self._recording.camera(entry.record, self._wanted.base_frame, entry.stamp_ns)
        data, suffix = _encoded(cdr, entry.record)
        filename = f"{folder}/{camera.name}/{stamp_us}{suffix}"
        write_bytes(self._wanted.out / filename, data)
        return SensorFile(camera, filename, stamp_us, pose, entry.is_key)

    def _write_cloud(self, entry: _Measurement, cdr: bytes, pose: np.ndarray) -> SensorFile:
        read = lidar_points(deserialise(cdr, PointCloud2), self._wanted.full_intensity, ("ring",))
        self._clouds.append(read.problem)
        points = read.points
        points[:, 3] *= FULL_INTENSITY / self._wanted.full_intensity
        frame = self._recording.cloud_frame.lstrip("/")
        mounting = self._recording.transforms.lookup(self._wanted.base_frame, frame, entry.stamp_ns)
        folder = "samples" if entry.is_key else "sweeps"
        filename = f"{folder}/{self._lidar}/{entry.stamp_ns // MICROSECOND}.bin"
        write_bytes(self._wanted.out / filename, points.tobytes())
        sensor = MountedLidar(self._lidar, mounting, read.columns)
        if entry.is_key:
            in_world = apply(pose @ mounting, points[:, :3].astype(np.float64))
            self._boxes[entry.keyframe] = _counted(self._boxes[entry.keyframe], in_world)
        return SensorFile(sensor, filename, entry.stamp_ns // MICROSECOND, pose, entry.is_key)


def _moments(recording: Recording, labels: BagLabels | None) -> list[int]:
    """Stamps (ns) of the keyframes: the clouds' or, without any, the first camera's that labels belong to."""
    stamps = sorted(set(recording.cloud_stamps_ns or recording.cameras[0].stamps_ns))
    if not stamps:
        raise DataError(f"bag {recording.path} has no image and no cloud to make keyframes of")
    if labels is None:
        return thinned(stamps, INTERVAL_NS)
    known = np.array(sorted({*stamps, *(ns for record in recording.cameras for ns in record.stamps_ns)}))
    late = [stamp for stamp in labels.stamps_ns if np.abs(known - stamp).min() > TOLERANCE_NS]
    if late:
        raise DataError(
            f"{len(late)} of {len(labels.stamps_ns)} labelled moments have no image or cloud within "
            f"{TOLERANCE_NS / 1e6:.0f} ms, the first is {late[0] / 1e9:.3f}: the bag's header stamps go from "
            f"{known[0] / 1e9:.3f} to {known[-1] / 1e9:.3f}; give stamps in seconds of that clock"
        )
    return list(labels.stamps_ns)


def _keyframes(recording: Recording, wanted: BagImport) -> Keyframes:
    """Those of an ordinary bag, which is one scene."""
    moments = _moments(recording, wanted.labels)
    return Keyframes(tuple(moments), ((wanted.bag.stem, range(len(moments))),))


def _plan(recording: Recording, chosen: Keyframes, *, keyframes_only: bool) -> dict[tuple[str, int], _Measurement]:
    """The messages that become files, by topic and header stamp."""
    streams = [(record, record.topics.image, record.stamps_ns) for record in recording.cameras]
    if recording.cloud_topic:
        streams.append((None, recording.cloud_topic, recording.cloud_stamps_ns))
    plan = {}
    for record, topic, given in streams:
        stamps = np.array(sorted(set(given)), np.int64)
        owners, owns = belonging(stamps, chosen.stamps_ns, TOLERANCE_NS)
        if chosen.kept:
            owners = np.where(owns, owners, leading(stamps, chosen.stamps_ns))
        for stamp, owner, own in zip(stamps.tolist(), owners, owns, strict=True):
            if own or (owner >= 0 and not keyframes_only):
                plan[topic, stamp] = _Measurement(record, stamp, int(owner), bool(own))
    return plan


def _boxes_at(place: Callable, labels: BagLabels | None, stamp_ns: int) -> list[LabelledBox]:
    """The labels of a moment in global; no points counted yet."""
    placed = []
    for label in labels.at(stamp_ns) if labels else ():
        box = Boxes(
            np.array([label.center]),
            np.array([label.size]),
            np.array([label.yaw]),
            np.full((1, 2), np.nan),
            np.zeros(1, np.int64),
            np.ones(1),
        ).transformed(place(label.frame, stamp_ns))
        placed.append(LabelledBox(label.kind, box.center[0], box.size[0], float(box.yaw[0]), None, track=label.track))
    return placed


def _counted(boxes: Sequence[LabelledBox], points: np.ndarray) -> list[LabelledBox]:
    """The boxes with the number of points (N, 3) that each holds."""
    if not boxes:
        return []
    center, size, yaw = (np.array([getattr(box, name) for box in boxes]) for name in ("center", "size", "yaw"))
    counts = count_points_in_boxes(points, center, size, yaw)
    return [replace(box, points=int(count)) for box, count in zip(boxes, counts, strict=True)]


def _pose(recording: Recording, target: str, source: str, stamp_ns: int) -> np.ndarray:
    """`target_from_source` (4, 4) at a time; raises DataError with what tf says."""
    if target == source.lstrip("/"):
        return np.eye(4)
    try:
        return recording.transforms.lookup(target, source.lstrip("/"), stamp_ns)
    except TransformError as error:
        raise DataError(f"at {stamp_ns / 1e9:.3f}: {error}") from error


def _check_upright(recording: Recording, base_frame: str, frame: str, stamp_ns: int) -> None:
    """Raise DataError if boxes are given in a frame whose z axis is not up."""
    base_from_frame = _pose(recording, base_frame, frame, stamp_ns)
    if base_from_frame[2, 2] < UPRIGHT:
        tilt = np.degrees(np.arccos(np.clip(base_from_frame[2, 2], -1.0, 1.0)))
        raise DataError(
            f"labels are given in '{frame}', whose z axis is {tilt:.0f} degrees off {base_frame}'s: yaw means nothing "
            "there; give boxes in a frame whose z axis is up"
        )


def _encoded(cdr: bytes, record: CameraRecord) -> tuple[bytes, str]:
    """A picture as a file has it, and its suffix."""
    if record.topics.image_type == COMPRESSED:
        message = deserialise(cdr, CompressedImage)
        data = bytes(message.data)
        check_format(message.format, data)
        return data, ".jpg" if is_jpeg(data) else ".png"
    rgb = from_image(deserialise(cdr, Image))
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes(), ".png"


def _channel(topic: str) -> str:
    """A sensor's name from its topic: '/LIDAR_TOP/points' is LIDAR_TOP."""
    parts = [part for part in topic.split("/") if part]
    return "_".join(parts[:-1] or parts) or "lidar"
