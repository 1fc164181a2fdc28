"""The frames of a bag without any node: the same rules as the detector's, applied to messages in the order of the bag.

It has its own readers of images, CameraInfo, tf and odometry; synchroniser and pipeline are those of the robot.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from kd_perception.bags.reader import BagReader
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.nodes.common.odometry import OdometryWatch, PoseSource
from kd_perception.options.detector import DetectorOptions
from kd_perception.parity.inputs import BagInputs
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.geometry import from_pose, from_transform
from kd_perception.ros.received import ReceivedImage, read_compressed_image, read_image
from kd_perception.ros.rectified import rectified_cameras
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf_buffer import TransformBuffer, TransformError
from kd_perception.runtime.camera_motion import CameraMotion
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.ignore_mask import load_ignore_masks
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.runtime.synchroniser import Synchroniser, SyncResult

HISTORY_S = 1e9  # all of the bag
PATIENCE_NS = 1_000_000_000  # how much later a transform or pose may be recorded than the images that need it

Frame = FrameRecord[ReceivedImage]


@dataclass(frozen=True)
class BagStep:
    """One message of the bag, and the frames that can be processed once it has come."""

    topic: str
    logged_ns: int
    cdr: bytes
    frames: tuple[Frame, ...]


class BagWalk:
    """Walks through a bag; every frame has its images, cameras and pose, and is ready for the pipeline."""

    def __init__(self, inputs: BagInputs, options: DetectorOptions, *, needs_pose: bool) -> None:
        """`needs_pose`: the student has memory. Raises ConfigError for options that do not fit the cameras."""
        self._inputs = inputs
        names, topics = inputs.names(), [camera.image for camera in inputs.cameras]
        self._sync = Synchroniser[ReceivedImage](names, int(options.sync_tolerance_ms * 1e6), float("inf"))
        self._transforms, self._watch = TransformBuffer(HISTORY_S), OdometryWatch()
        self._rig = RigSource(
            names,
            options.base_frame,
            self._transforms,
            rectified=rectified_cameras(options.rectified, topics),
            ignored=load_ignore_masks(options.ignore_mask, names),
        )
        self._poses = PoseSource(self._transforms, options.odometry_frame, options.base_frame)
        self._motion = CameraMotion(self._poses.lookup) if options.camera_motion else None
        self._needs_pose = needs_pose or options.camera_motion
        self._known: dict[str, Camera] = {}
        self._waiting: deque[tuple[Frame, int]] = deque()  # frames and when the last of their images was recorded
        self._resets, self._cause = 0, ""
        self._take = self._takers()

    def steps(self) -> Iterator[BagStep]:
        """Every message of the inputs in order; the last step has the frames that waited for more."""
        reader = BagReader(self._inputs.bag)
        last = None
        try:
            for topic, logged_ns, cdr in reader.messages():
                if topic not in self._take:
                    continue
                if last is not None:
                    yield last
                try:
                    self._take[topic](cdr, logged_ns)
                except (DataError, TransformError):
                    pass  # the node reports it, and goes on without it, too
                last = BagStep(topic, logged_ns, cdr, self._complete(logged_ns))
            if last is not None:
                self._enter(self._sync.poll(float("inf")), last.logged_ns)
                yield BagStep(last.topic, last.logged_ns, last.cdr, (*last.frames, *self._complete(None)))
        finally:
            reader.close()

    def _takers(self) -> dict:
        """topic -> what takes its serialised messages and their recording times."""
        take = {self._inputs.moving: partial(self._take_tf, static=False), self._inputs.odometry: self._take_odometry}
        take[self._inputs.static] = partial(self._take_tf, static=True)
        for index, camera in enumerate(self._inputs.cameras):
            take[camera.info] = partial(self._take_info, index)
            take[camera.image] = partial(self._take_image, index)
        take.pop("", None)
        return take

    def _take_image(self, camera: int, cdr: bytes, logged_ns: int) -> None:
        image = (read_compressed_image if self._inputs.compressed else read_image)(cdr)
        if image.stamp_ns > 0:
            self._enter(self._sync.add(camera, image.stamp_ns, image, 0.0), logged_ns)

    def _take_info(self, camera: int, cdr: bytes, _: int) -> None:
        self._rig.set_info(camera, deserialise(cdr, CameraInfo))

    def _take_tf(self, cdr: bytes, _: int, *, static: bool) -> None:
        for entry in deserialise(cdr, TFMessage).transforms:
            parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
            stamp_ns, matrix = to_nanoseconds(entry.header.stamp), from_transform(entry.transform)
            self._transforms.set_transform(parent, child, stamp_ns, matrix, static=static)

    def _take_odometry(self, cdr: bytes, _: int) -> None:
        message = deserialise(cdr, Odometry)
        stamp_ns, pose = to_nanoseconds(message.header.stamp), from_pose(message.pose.pose)
        linear = message.twist.twist.linear
        reason = self._watch.add(stamp_ns, pose[:3, 3], (linear.x**2 + linear.y**2 + linear.z**2) ** 0.5)
        if reason:
            self._reset(reason)
        frames = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
        self._poses.add(stamp_ns, *frames, pose)

    def _enter(self, result: SyncResult[ReceivedImage], logged_ns: int) -> None:
        if result.reset_reason:
            self._reset(result.reset_reason)
        for record in result.frames:
            record.resets, record.reset_cause = self._resets, self._cause
            self._waiting.append((record, logged_ns))

    def _reset(self, reason: str) -> None:
        self._resets, self._cause = self._resets + 1, reason

    def _complete(self, now_ns: int | None) -> tuple[Frame, ...]:
        """Frames that have all they need, or have waited long enough for it (at the end, None: all)."""
        complete = []
        while self._waiting:
            record, since_ns = self._waiting[0]
            lacking = self._fill(record)
            if lacking and now_ns is not None and now_ns - since_ns <= PATIENCE_NS:
                break
            complete.append(self._waiting.popleft()[0])
        return tuple(complete)

    def _fill(self, record: Frame) -> bool:
        """Fill in images, cameras and pose; whether something is lacking that may still come."""
        present = {n for n, image in zip(self._rig.names, record.messages, strict=True) if image is not None}
        for index, image in enumerate(record.messages):
            if image is not None:
                self._rig.set_image_frame(index, image.frame_id)
        rig = self._rig.rig(record.stamp_ns)
        lacking = bool(present & rig.problems.keys())
        try:
            record.odom_from_base = self._poses.lookup(record.stamp_ns) if self._needs_pose else None
            youngest_ns = max(-age for age in record.ages_ns if age is not None)
            if self._motion is not None and youngest_ns:
                self._poses.lookup(record.stamp_ns + youngest_ns)
        except CalibrationError:
            lacking = True
        # A masked camera stays where it was, so that the tables do not follow tf that comes and goes.
        self._known |= {camera.name: camera for camera in rig.cameras if camera.name not in rig.problems}
        record.cameras = tuple(self._known.get(camera.name, camera) for camera in rig.cameras)
        record.uncalibrated = rig.problems
        if self._motion is not None and not lacking:
            record.cameras, _ = self._motion.at_anchor(record.cameras, record.stamp_ns, record.ages_ns)
        return lacking


def detect(pipeline: Pipeline, record: Frame, resets: int) -> None:
    """Run the pipeline on a complete frame; `resets`: those of the frame before.

    Raises CalibrationError where the detector rejects the frame.
    """
    anchor = record.cameras[0].name
    if anchor in record.uncalibrated:
        raise CalibrationError(record.uncalibrated[anchor])
    images = []
    for camera, message in zip(record.cameras, record.messages, strict=True):
        image = None
        try:
            if message is not None and camera.name not in record.uncalibrated:
                image = message.content()
        except DataError as error:
            record.rejected[camera.name] = f"camera '{camera.name}': {error}"
        images.append(image)
    record.images = images
    if record.resets != resets:
        pipeline.reset(record.reset_cause)
    pipeline.set_rig(record.cameras)
    pipeline.prepare(record)
    pipeline.infer(record)
