"""The detector's time per frame outside the engine: its own classes on real messages, with an engine that returns at
once, in one thread, without a graph.

Cases: compressed and raw images; a robot that stands still, and one that moves while its cameras fire apart.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product

import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage

from kd_bench.dataset_frames import BenchFrame
from kd_perception.engines.protocol import Tensor
from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.images.decoding import decode_image
from kd_perception.nodes.bev_student.camera_watch import CameraWatch
from kd_perception.nodes.bev_student.detection import FrameDetector
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.ros.images import to_image
from kd_perception.ros.live import LIVE
from kd_perception.ros.received import read_compressed_image, read_image
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.stamps import to_time
from kd_perception.ros.tf_buffer import TransformBuffer
from kd_perception.runtime.camera_motion import CameraMotion
from kd_perception.runtime.pipeline import HEATMAP_OUTPUT, REGRESSION_OUTPUT, Pipeline
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.runtime.synchroniser import Synchroniser
from kd_perception.student.spec import MEMORY_OUTPUT, Student, StudentSpec

BASE, ODOM = "base_link", "odom"
START_NS, PERIOD_NS = 1_700_000_000 * 10**9, 83_000_000  # cameras at 12 Hz
APART_NS = 8_000_000  # between the exposures of one camera and the next, where they fire apart
SPEED, YAW_RATE = 10.0, 0.05  # m/s, rad/s
WARM_UP = 5  # frames before times count
SETS = 4  # sets of images that take turns: no image comes twice in a row
READERS = {"compressed": read_compressed_image, "raw": read_image}
STAGES = ("arrival", "calibration", "preprocess", "decode", "other")
HEADINGS = ("images", "robot", *STAGES, "sum")

METHOD = """The detector's own classes on serialised messages, one frame after the other in one thread, with an engine
that returns at once. *Arrival* is reading the messages and joining the cameras, *calibration* rig, geometry tables and
pose. *Preprocess* is decoding and resizing images, *decode* turns output maps into boxes. *Other* is the rest: checks
of the images, temporal memory, bookkeeping. Publishing is not in it. A robot that *moves* drives a wide curve at
10 m/s; its cameras fire 8 ms apart and are placed by odometry. One that *stands* has cameras that fire together."""


@dataclass(frozen=True)
class TrafficCase:
    """How images are encoded ('compressed' or 'raw'), and whether the robot moves and its cameras fire apart."""

    transport: str
    moving: bool


CASES = tuple(TrafficCase(transport, moving) for transport, moving in product(READERS, (False, True)))


@dataclass(frozen=True)
class _Moment:
    """What arrives for one frame: serialised images and CameraInfo in rig order, and the robot's poses by stamp."""

    images: tuple[bytes, ...]
    infos: tuple[CameraInfo, ...]
    poses: Mapping[int, np.ndarray]


class IdleEngine:
    """An engine that returns at once and finds nothing."""

    name = "none"
    not_kept = ""

    def __init__(self, spec: StudentSpec) -> None:
        rows, columns = spec.grid.shape
        self._outputs = {
            HEATMAP_OUTPUT: np.zeros((len(CLASSES), rows, columns), np.float32),
            REGRESSION_OUTPUT: np.zeros((len(NUSCENES.groups), len(spec.coding.names), rows, columns), np.float32),
            MEMORY_OUTPUT: np.zeros(spec.memory_shape, np.float32),
        }

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same outputs for whatever inputs."""
        return self._outputs


def measure_outside_engine(
    student: Student,
    frames: Sequence[BenchFrame],
    case: TrafficCase,
    count: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, float]]:
    """Milliseconds by STAGES of `count` frames, after WARM_UP unmeasured ones.

    Raises DataError if no frame has an image of every camera.
    """
    complete = [frame for frame in frames if None not in frame.images][:SETS]
    if not complete:
        raise DataError("no frame has an image of every camera; measure with another data set")
    detector = _DetectorAlone(student, complete[0].cameras, case)
    times = []
    for moment in islice(_moments(complete, case), WARM_UP + count):
        times.append(detector.run(moment))
        progress(max(0, len(times) - WARM_UP), count)
    detector.close()
    return times[WARM_UP:]


def overhead_rows(measured: Mapping[TrafficCase, Sequence[Mapping[str, float]]]) -> list[tuple[str, ...]]:
    """Medians as text, a row a case, as HEADINGS names them."""
    rows = []
    for case, times in measured.items():
        medians = [np.median([frame[stage] for frame in times]) for stage in STAGES]
        total = np.median([sum(frame.values()) for frame in times])
        robot = "moves" if case.moving else "stands"
        rows.append((case.transport, robot, *(f"{value:.2f}" for value in (*medians, total))))
    return rows


class _DetectorAlone:
    """The detector's classes as the node puts them together, without node and threads of stages."""

    def __init__(self, student: Student, cameras: Sequence[Camera], case: TrafficCase) -> None:
        names = [camera.name for camera in cameras]
        self._read = READERS[case.transport]
        self._transforms = TransformBuffer()
        for camera in cameras:
            self._transforms.set_transform(BASE, _optical(camera), 0, camera.ego_from_camera, static=True)
        self._rig_source = RigSource(names, BASE, self._transforms)
        self._sync = Synchroniser(names)
        self._pipeline = Pipeline(student, IdleEngine(student.spec), len(cameras))
        poses = PoseSource(self._transforms, ODOM, BASE)
        motion = CameraMotion(poses.lookup) if case.moving else None
        students = PipelineExchange(self._pipeline)
        self._detector = FrameDetector(
            students, self._rig_source, poses, CameraWatch(names), deadline_s=0.0, camera_motion=motion
        )

    def run(self, moment: _Moment) -> dict[str, float]:
        """Milliseconds by STAGES of one frame."""
        arrival_s = time.monotonic()
        start = time.perf_counter()
        for stamp_ns, pose in moment.poses.items():
            self._transforms.set_transform(ODOM, BASE, stamp_ns, pose)
        ready = ()
        for index, (info, cdr) in enumerate(zip(moment.infos, moment.images, strict=True)):
            self._rig_source.set_info(index, info)
            image = self._read(cdr)
            ready += self._sync.add(index, image.stamp_ns, image, arrival_s).frames
        arrived = time.perf_counter()
        (record,) = ready
        self._detector.prepare(record)
        self._detector.infer(record)
        total_ms = 1e3 * (time.perf_counter() - start)
        times = {"arrival": 1e3 * (arrived - start)}
        times |= {stage: record.stage_ms[stage] for stage in ("calibration", "preprocess", "decode")}
        return times | {"other": total_ms - sum(times.values())}

    def close(self) -> None:
        """End the pipeline's threads."""
        self._pipeline.close()


def _moments(frames: Sequence[BenchFrame], case: TrafficCase) -> Iterator[_Moment]:
    """What the rig sends, frame after frame, without end; serialised here, where it is not timed."""
    for index, frame in enumerate(cycle(frames)):
        stamp_ns = START_NS + index * PERIOD_NS
        stamps = [stamp_ns + case.moving * APART_NS * camera for camera in range(len(frame.cameras))]
        cameras = list(zip(frames[0].cameras, frame.images, stamps, strict=True))
        yield _Moment(
            tuple(_serialised(case.transport, camera, data, exposed_ns) for camera, data, exposed_ns in cameras),
            tuple(_info(camera, exposed_ns) for camera, _, exposed_ns in cameras),
            {at_ns: _pose(at_ns, case) for at_ns in (stamp_ns, stamp_ns + PERIOD_NS // 2, stamp_ns + PERIOD_NS)},
        )


def _serialised(transport: str, camera: Camera, data: bytes, stamp_ns: int) -> bytes:
    if transport == "compressed":
        message = CompressedImage(format="jpeg", data=data)
    else:
        message = to_image(decode_image(data, camera.name))
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), _optical(camera)
    return serialize_message(message)


def _info(camera: Camera, stamp_ns: int) -> CameraInfo:
    message = LIVE.camera_info(camera, _optical(camera))
    message.header.stamp = to_time(stamp_ns)
    return message


def _pose(stamp_ns: int, case: TrafficCase) -> np.ndarray:
    """`odom_from_base` (4, 4) of the robot: it stands, or drives a wide curve."""
    elapsed_s = case.moving * (stamp_ns - START_NS) / 1e9
    return make_transform(quaternion_from_yaw(YAW_RATE * elapsed_s), [SPEED * elapsed_s, 0.0, 0.0])


def _optical(camera: Camera) -> str:
    return f"{camera.name}_optical"
