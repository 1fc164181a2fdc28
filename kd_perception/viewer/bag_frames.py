"""Frames of a bag of any robot: pictures, cloud and calibration as `kd rig check` finds them, recorded detections.

Three passes keep memory small: detections and samples; calibrations, transforms and stamps; then pictures and clouds in
the order in which they were recorded, each frame given as soon as it is complete.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from kd_msgs.msg import Detection3DArray, Sample
from kd_perception.bags.reader import BagReader
from kd_perception.drawing.cameras import encode_image
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import apply
from kd_perception.images.decoding import check_format
from kd_perception.recordings.viewed_frame import ViewedFrame, ViewedImage
from kd_perception.rig_check.recording import CameraRecord, Recording, read_recording
from kd_perception.rig_check.topics import COMPRESSED
from kd_perception.ros.cdr import read_header
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.detections import from_detection_array
from kd_perception.ros.images import from_image
from kd_perception.ros.pointclouds import finite_xyz
from kd_perception.ros.stamps import to_nanoseconds

DETECTIONS_TYPE, SAMPLE_TYPE = "kd_msgs/msg/Detection3DArray", "kd_msgs/msg/Sample"
NEAR_NS = 100_000_000  # what a sensor took further away belongs to another moment
MOST_FRAMES = 400  # of a bag whose length is not known


@dataclass
class BagResults:
    """What was recorded by stamp (ns): detections with their frame, tokens of samples."""

    detections: dict[int, tuple[str, Boxes]] = field(default_factory=dict)
    samples: dict[int, str] = field(default_factory=dict)


@dataclass
class _Moment:
    """A frame that is being collected: its stamp, the messages it still waits for, and what has come of them."""

    stamp_ns: int
    waits_for: set[tuple[str, int]]
    come: dict[str, bytes] = field(default_factory=dict)


def bag_frames(
    path: Path, base_frame: str = "base_link", most: int = MOST_FRAMES, classes: ClassList = NUSCENES
) -> Iterator[ViewedFrame]:
    """At most `most` frames, evenly over the bag: at detections, else samples, clouds or the first camera's images.

    `predictions` are all recorded detections. Raises DataError if the bag is empty, damaged from its start or has no
    pictures.
    """
    recording = read_recording(path)
    results = _read_results(path, classes)
    stamps = _stamps(recording, results)
    if not stamps:
        raise DataError(f"bag {path} has no images, clouds or detections with a stamp; record its cameras")
    middles = (np.arange(min(most, len(stamps))) + 0.5) * len(stamps) / min(most, len(stamps))
    waiting = [_moment(recording, stamps[int(middle)]) for middle in middles]
    reader = BagReader(path)
    topics = {topic for moment in waiting for topic, _ in moment.waits_for}
    for topic, _, data in reader.messages():
        if topic in topics:
            _take(waiting, topic, data)
        while waiting and not waiting[0].waits_for:
            yield _frame(recording, results, waiting.pop(0), base_frame)
    reader.close()
    for moment in waiting:
        yield _frame(recording, results, moment, base_frame)


def _read_results(path: Path, classes: ClassList) -> BagResults:
    results = BagResults()
    reader = BagReader(path)
    types = {topic.name: topic.type_name for topic in reader.topics}
    if not {DETECTIONS_TYPE, SAMPLE_TYPE} & set(types.values()):
        reader.close()
        return results
    for topic, _, data in reader.messages():
        if types[topic] == DETECTIONS_TYPE:
            message = deserialise(data, Detection3DArray)
            boxes = from_detection_array(message, classes)
            results.detections[to_nanoseconds(message.header.stamp)] = message.header.frame_id.lstrip("/"), boxes
        elif types[topic] == SAMPLE_TYPE:
            sample = deserialise(data, Sample)
            results.samples[to_nanoseconds(sample.header.stamp)] = sample.sample_token
    reader.close()
    return results


def _stamps(recording: Recording, results: BagResults) -> list[int]:
    first_camera = next((record.stamps_ns for record in recording.cameras if record.stamps_ns), [])
    return sorted(set(results.detections or results.samples or recording.cloud_stamps_ns or first_camera))


def _moment(recording: Recording, stamp_ns: int) -> _Moment:
    sources = [(record.topics.image, record.stamps_ns) for record in recording.cameras]
    sources.append((recording.cloud_topic, recording.cloud_stamps_ns))
    nearest = {(topic, taken[int(np.abs(np.array(taken) - stamp_ns).argmin())]) for topic, taken in sources if taken}
    return _Moment(stamp_ns, {(topic, ns) for topic, ns in nearest if abs(ns - stamp_ns) <= NEAR_NS})


def _take(waiting: list[_Moment], topic: str, data: bytes) -> None:
    try:
        key = (topic, read_header(data)[0])
    except DataError:
        return
    for moment in waiting:
        if key in moment.waits_for:
            moment.waits_for.remove(key)
            moment.come[topic] = data


def _frame(recording: Recording, results: BagResults, moment: _Moment, base_frame: str) -> ViewedFrame:
    stamp_ns, problems = moment.stamp_ns, []
    images, cloud, predictions = [], None, None
    for record in recording.cameras:
        if data := moment.come.get(record.topics.image):
            try:
                images.append(_image(recording, record, data, base_frame))
            except (CalibrationError, DataError) as error:
                problems.append(f"a picture on {record.topics.image} is left out: {error}")
    try:
        if data := moment.come.get(recording.cloud_topic):
            base_from_cloud = recording.transforms.lookup(base_frame, read_header(data)[1].lstrip("/"), stamp_ns)
            cloud = apply(base_from_cloud, finite_xyz(deserialise(data, PointCloud2)).astype(np.float64))
        if stamp_ns in results.detections:
            frame_id, boxes = results.detections[stamp_ns]
            same = frame_id == base_frame
            predictions = (
                boxes if same else boxes.transformed(recording.transforms.lookup(base_frame, frame_id, stamp_ns))
            )
    except (CalibrationError, DataError) as error:
        problems.append(str(error))
    return ViewedFrame(
        title=f"{recording.path.name}, {stamp_ns / 1e9:.3f} s",
        stamp_ns=stamp_ns,
        images=tuple(images),
        sample_token=results.samples.get(stamp_ns, ""),
        map_from_ego=_pose(recording, base_frame, stamp_ns),
        cloud=cloud,
        predictions=predictions,
        problems=tuple(problems),
    )


def _image(recording: Recording, record: CameraRecord, data: bytes, base_frame: str) -> ViewedImage:
    stamp_ns, _ = read_header(data)
    camera = recording.camera(record, base_frame, stamp_ns)
    if record.topics.image_type != COMPRESSED:
        return ViewedImage(camera, encode_image(from_image(deserialise(data, Image))), stamp_ns)
    message = deserialise(data, CompressedImage)
    check_format(message.format, message.data)
    return ViewedImage(camera, bytes(message.data), stamp_ns)


def _pose(recording: Recording, base_frame: str, stamp_ns: int) -> np.ndarray | None:
    fixed = recording.fixed_frame(base_frame)
    try:
        return recording.transforms.lookup(fixed, base_frame, stamp_ns) if fixed else None
    except CalibrationError:
        return None
