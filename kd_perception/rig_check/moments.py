"""A few moments of a bag in full: the cloud, and every camera's picture nearest to it."""

from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from kd_perception.bags.reader import BagReader
from kd_perception.errors import DataError
from kd_perception.geometry.transforms import apply
from kd_perception.images.decoding import check_format, decode_image
from kd_perception.rig_check.agreement import Jumps, edge_map
from kd_perception.rig_check.recording import CameraRecord, Progress, Recording
from kd_perception.rig_check.topics import COMPRESSED
from kd_perception.ros.cdr import read_header
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.images import from_image
from kd_perception.ros.pointclouds import finite_xyz
from kd_perception.ros.tf_buffer import TransformError

PICTURE_WIDTH = 800  # pixels: images are kept no larger
NONSENSE = 1e4  # metres: no LiDAR sees as far
MOST_POINTS = 60_000  # of one cloud; more would only take time


@dataclass(frozen=True)
class CameraView:
    """One camera's image near a moment: its stamp, its size as published (width, height), at most 800 px wide."""

    stamp_ns: int
    size: tuple[int, int]
    image: np.ndarray

    @cached_property
    def edges(self) -> np.ndarray | None:
        """Its edge map (height, 352), None if it has hardly any edges."""
        return edge_map(self.image)


@dataclass(frozen=True)
class Moment:
    """One time in the bag: points (N, 3) in base_link at `stamp_ns` (none without a cloud), views by camera name.

    base_from_cloud (4, 4): where the sensor sits; unread: why images could not be read, by camera name; problems:
    sentences on the cloud.
    """

    stamp_ns: int
    points: np.ndarray
    base_from_cloud: np.ndarray
    views: dict[str, CameraView]
    unread: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @cached_property
    def jumps(self) -> Jumps:
        """The jumps of its cloud."""
        return Jumps.of(self.points, self.base_from_cloud)


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


def read_pictures(recording: Recording, wanted: Mapping[str, Set[int]]) -> Iterator[tuple[str, int, np.ndarray]]:
    """(camera, stamp, picture at most 800 px wide) of the cameras' images with these stamps, those that can be read."""
    records = {record.topics.image: record for record in recording.cameras if record.name in wanted}
    reader = BagReader(recording.path)
    for topic, _, data in reader.messages():
        if topic in records:
            record = records[topic]
            with suppress(DataError):
                stamp_ns = read_header(data)[0]
                if stamp_ns in wanted[record.name]:
                    yield record.name, stamp_ns, _at_most(read_image(data, record), PICTURE_WIDTH)
    reader.close()


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
    points, base_from_cloud, problems = np.zeros((0, 3)), np.eye(4), ()
    if cloud := data.get((recording.cloud_topic, stamp_ns)):
        try:
            base_from_cloud = recording.transforms.lookup(base_frame, recording.cloud_frame.lstrip("/"), stamp_ns)
            xyz = finite_xyz(deserialise(cloud, PointCloud2)).astype(np.float64)
            far = np.abs(xyz).max(axis=1, initial=0.0)
            xyz = xyz[(far > 0) & (far < NONSENSE)]  # drivers fill missing returns with zeros, or with anything
            points = apply(base_from_cloud, xyz[:: -(-len(xyz) // MOST_POINTS) or 1])
        except (TransformError, DataError) as error:
            problems = (f"cloud {recording.cloud_topic}: {error}",)
    moment = Moment(stamp_ns, points, base_from_cloud, {}, {}, problems)
    for record in recording.cameras:
        at_ns = nearest.get((stamp_ns, record.name))
        cdr = data.get((record.topics.image, at_ns)) if at_ns is not None else None
        if cdr is not None:
            try:
                moment.views[record.name] = _view(cdr, record, at_ns)
            except DataError as error:
                moment.unread[record.name] = str(error)
    return moment


def _view(cdr: bytes, record: CameraRecord, stamp_ns: int) -> CameraView:
    image = read_image(cdr, record)
    return CameraView(stamp_ns, (image.shape[1], image.shape[0]), _at_most(image, PICTURE_WIDTH))


def read_image(cdr: bytes, record: CameraRecord) -> np.ndarray:
    """RGB image of a serialised message; raises DataError."""
    if record.topics.image_type == COMPRESSED:
        message = deserialise(cdr, CompressedImage)
        data = bytes(message.data)
        check_format(message.format, data)
        return decode_image(data, f"on {record.topics.image}")
    return from_image(deserialise(cdr, Image))


def _at_most(image: np.ndarray, width: int) -> np.ndarray:
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
