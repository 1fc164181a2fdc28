"""The pipeline without a graph around it, on a bag's frames: its latency, and what overlapping its stages brings."""

import threading
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from kd_perception.bags.reader import BagReader
from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera
from kd_perception.nodes.common.stages import OverlappedStages
from kd_perception.ros.cameras import from_camera_info
from kd_perception.ros.detections import to_detection_array
from kd_perception.ros.geometry import from_transform
from kd_perception.ros.received import read_compressed_image
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import Student

WARM_UP = 5  # frames before times count
BASE_FRAME = "base_link"


@dataclass(frozen=True)
class BagFrames:
    """A bag's rig in nuScenes' order (other names as they come), and its sets of encoded images in order of time."""

    cameras: tuple[Camera, ...]
    images: tuple[tuple[memoryview, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras' names in rig order."""
        return tuple(camera.name for camera in self.cameras)


@dataclass(frozen=True)
class Alone:
    """latency_ms: of each frame, decode to serialised message, one after the other; stage_ms: each frame's stages;
    sequential_hz, overlapped_hz: frames per second when stages follow each other, and when they overlap."""

    latency_ms: tuple[float, ...]
    stage_ms: tuple[dict[str, float], ...]
    sequential_hz: float
    overlapped_hz: float

    def joined(self, other: "Alone") -> "Alone":
        """Both measurements as one."""
        return Alone(
            self.latency_ms + other.latency_ms,
            self.stage_ms + other.stage_ms,
            (self.sequential_hz + other.sequential_hz) / 2.0,
            (self.overlapped_hz + other.overlapped_hz) / 2.0,
        )


def read_bag_frames(bag: Path) -> BagFrames:
    """All frames of a bag with compressed images of cameras at one rate; raises DataError if it has none."""
    infos, mountings, images = {}, {}, {}
    reader = BagReader(bag)
    for topic, _, cdr in reader.messages():
        name, _, kind = topic.lstrip("/").partition("/")
        if kind == "camera_info":
            infos[name] = deserialize_message(cdr, CameraInfo)
        elif topic == "/tf_static":
            for entry in deserialize_message(cdr, TFMessage).transforms:
                if entry.header.frame_id == BASE_FRAME:
                    mountings[entry.child_frame_id] = from_transform(entry.transform)
        elif kind == "image/compressed":
            images.setdefault(name, []).append(read_compressed_image(cdr).data)
    reader.close()
    names = [name for name in infos if infos[name].header.frame_id in mountings and name in images]
    names.sort(key=lambda name: CAMERA_CHANNELS.index(name) if name in CAMERA_CHANNELS else len(CAMERA_CHANNELS))
    cameras = tuple(from_camera_info(infos[n], n, mountings[infos[n].header.frame_id]) for n in names)
    whole = tuple(zip(*(images[name] for name in names), strict=False))  # the n-th image of every camera
    if not names or not whole:
        raise DataError(f"{bag} has no moment with an image of every camera; give a bag of JPEGs, CameraInfo and tf")
    return BagFrames(cameras, whole)


def measure_alone(student: Student, frames: BagFrames, engine: str, threads: int, seconds: float) -> Alone:
    """Run the pipeline over the frames, in a loop, half of the time in sequence and half of it overlapped."""
    pipeline = Pipeline(student, engine, len(frames.cameras), PipelineOptions(threads=threads))
    pipeline.set_rig(frames.cameras)
    images = cycle(frames.images)
    stamps = iter(range(0, 10**18, 100_000_000))
    try:
        for _ in range(WARM_UP):
            _publishable(pipeline.detect(next(images), next(stamps)))
        latency, stages = [], []
        started_s = time.monotonic()
        while time.monotonic() - started_s < seconds / 2.0:
            begin = time.perf_counter()
            found = pipeline.detect(next(images), next(stamps))
            _publishable(found)
            latency.append(1e3 * (time.perf_counter() - begin))
            stages.append(found.stage_ms)
        sequential_hz = len(latency) / (time.monotonic() - started_s)
        overlapped_hz = _overlapped(pipeline, images, stamps, seconds / 2.0)
    finally:
        pipeline.close()
    return Alone(tuple(latency), tuple(stages), sequential_hz, overlapped_hz)


def _overlapped(pipeline: Pipeline, images, stamps, seconds: float) -> float:  # noqa: ANN001 - endless iterators
    """Frames per second with a next frame always waiting."""
    done = 0
    began = threading.Semaphore(0)

    def prepare(record: FrameRecord) -> None:
        began.release()
        pipeline.prepare(record)

    def finish(record: FrameRecord, error: Exception | None) -> None:
        nonlocal done
        if error is not None:
            raise error
        _publishable(record)
        done += 1

    stages = OverlappedStages(prepare, pipeline.infer, finish)
    started_s = time.monotonic()
    while time.monotonic() - started_s < seconds:
        stages.submit(FrameRecord(next(stamps), images=next(images)))
        began.acquire()
    elapsed_s = time.monotonic() - started_s
    counted = done
    stages.stop()
    return counted / elapsed_s


def _publishable(found: FrameRecord) -> bytes:
    return serialize_message(to_detection_array(found.boxes, 0, BASE_FRAME, ""))
