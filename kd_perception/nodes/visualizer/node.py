"""Shows what the detector sees: markers for RViz, a bird's-eye picture with the LiDAR points, and camera overlays.

Triggered by detections, it takes the images and the cloud nearest to their stamp, and draws what somebody looks at.
"""

import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
from rclpy.lifecycle import LifecyclePublisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from kd_msgs.msg import Detection3DArray
from kd_perception.drawing.bird_eye import draw_bev
from kd_perception.drawing.cameras import draw_camera, encode_image
from kd_perception.errors import CalibrationError, KdError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import apply, invert
from kd_perception.images.decoding import check_format, decode_image
from kd_perception.messages.markers import MarkerFrame
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.latest_worker import LatestWorker
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import run
from kd_perception.options.visualizer import VisualizerOptions
from kd_perception.ros.camera_topics import camera_topics
from kd_perception.ros.detections import from_detection_array, other_classes
from kd_perception.ros.images import from_image, to_image
from kd_perception.ros.listeners import has_listeners
from kd_perception.ros.live import LIVE
from kd_perception.ros.pointclouds import finite_xyz
from kd_perception.ros.publishing import publish
from kd_perception.ros.qos import CAMERA_INFO, RESULT, SENSOR
from kd_perception.ros.rectified import rectified_cameras
from kd_perception.ros.rig_source import CalibratedRig, RigSource
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf import open_transforms
from kd_perception.student.classes import chosen_classes

HISTORY = 8  # images and clouds kept per topic, to find those of a detection that comes later
TOLERANCE_NS = 100_000_000


class History:
    """The last messages of a topic, to be found by stamp."""

    def __init__(self) -> None:
        self._messages: deque[tuple[int, object]] = deque(maxlen=HISTORY)

    def add(self, message: Image | CompressedImage | PointCloud2) -> None:
        """Keep a stamped message."""
        self._messages.append((to_nanoseconds(message.header.stamp), message))

    def nearest(self, stamp_ns: int) -> tuple[int, Image | CompressedImage | PointCloud2] | None:
        """Stamp and message nearest to a time, if within the tolerance."""
        near = [entry for entry in tuple(self._messages) if abs(entry[0] - stamp_ns) <= TOLERANCE_NS]
        return min(near, key=lambda entry: abs(entry[0] - stamp_ns), default=None)


class Visualizer(ManagedNode[VisualizerOptions]):
    """Lifecycle: configure creates the outputs, activate listens."""

    def __init__(self) -> None:
        super().__init__("visualizer", VisualizerOptions())

    def configure(self, ending: ExitStack) -> None:
        """Create the outputs."""
        p = self.settings
        self._classes = chosen_classes(p.classes)
        self._topics = camera_topics(p, self.resolve_topic_name)
        self._rectified = rectified_cameras(p.rectified, [camera.image for camera in self._topics])
        self._health = Health(self)
        ending.callback(self._health.close)
        kind, suffix = (CompressedImage, "/compressed") if p.picture_transport == "compressed" else (Image, "")
        self._markers = self._output(ending, MarkerArray, "markers")
        self._bev = self._output(ending, kind, f"bev/image{suffix}")
        self._overlays = [self._output(ending, kind, f"camera{i}/image{suffix}") for i in range(len(p.camera_names))]

    def activate(self, ending: ExitStack) -> None:
        """Start listening."""
        p = self.settings
        ending.enter_context(self._health.active())
        self._images = [History() for _ in p.camera_names]
        self._clouds = History()
        self._last_s = -np.inf
        self._transforms = open_transforms(self, partial(self._health.problem, "refused_transforms"))
        ending.callback(self._transforms.close)
        self._rig_source = RigSource(
            p.camera_names,
            p.base_frame,
            self._transforms,
            rectified=self._rectified,
            topics=[camera.camera_info for camera in self._topics],
        )
        self._worker = LatestWorker[Detection3DArray](self._work)
        ending.callback(self._worker.stop)
        inputs = [
            self.create_subscription(Detection3DArray, "~/input/objects", self._receive_objects, RESULT),
            self.create_subscription(PointCloud2, "~/input/points", self._clouds.add, SENSOR),
        ]
        for i, (camera, images) in enumerate(zip(self._topics, self._images, strict=True)):
            set_info = partial(self._rig_source.set_info, i)
            inputs.append(self.create_subscription(camera.kind, camera.image, images.add, SENSOR))
            inputs.append(self.create_subscription(CameraInfo, camera.camera_info, set_info, CAMERA_INFO))
        for subscription in inputs:
            ending.callback(self.destroy_subscription, subscription)

    def _output(self, ending: ExitStack, kind: type, name: str) -> LifecyclePublisher:
        publisher = self.create_lifecycle_publisher(kind, f"~/output/{name}", RESULT)
        ending.callback(self.destroy_lifecycle_publisher, publisher)
        return publisher

    def _receive_objects(self, message: Detection3DArray) -> None:
        self._health.count("detections_received")
        self._worker.submit(message)

    # The worker's thread

    def _work(self, message: Detection3DArray) -> None:
        """Show one message's boxes, whatever they are."""
        try:
            self._show(message)
        except KdError as error:
            self._health.problem("refused_input", str(error))
        except Exception as error:  # drawing must not end the node
            self._health.problem("faults", f"drawing failed ({type(error).__name__}: {error}); please report it")

    def _show(self, message: Detection3DArray) -> None:
        """Markers of every message; pictures, which cost more, as often as the options say."""
        stamp_ns = to_nanoseconds(message.header.stamp)
        boxes = from_detection_array(message, self._classes.with_others(other_classes(message, self._classes)))
        boxes = boxes[boxes.score >= self.settings.score_threshold]
        if has_listeners(self, self._markers):
            publish(self, self._markers, MarkerFrame(LIVE, message.header.frame_id, stamp_ns).detections(boxes))
        if time.monotonic() - self._last_s >= 1.0 / self.settings.rate_hz:
            self._last_s = time.monotonic()
            self._draw(boxes, message)
        self._health.count("detections_drawn")

    def _draw(self, boxes: Boxes, message: Detection3DArray) -> None:
        stamp_ns = to_nanoseconds(message.header.stamp)
        if has_listeners(self, self._bev):
            points = self._points(stamp_ns)
            picture = draw_bev(boxes, points=points, extent=self.settings.bev_extent, size=self.settings.bev_size)
            self._publish(self._bev, picture, message)
        if any(has_listeners(self, publisher) for publisher in self._overlays):
            for index, images in enumerate(self._images):
                image = images.nearest(stamp_ns)
                if image is not None:
                    self._rig_source.set_image_frame(index, image[1].header.frame_id)
            rig = self._rig_source.rig(stamp_ns)
            for index, publisher in enumerate(self._overlays):
                if has_listeners(self, publisher):
                    self._draw_overlay(index, boxes, rig, message)

    def _points(self, stamp_ns: int) -> np.ndarray | None:
        """Points (N, 3) of the cloud nearest in time, in base_link at the boxes' time; None if there are none."""
        found = self._clouds.nearest(stamp_ns)
        if found is None:
            self._health.count("frames_without_points")
            return None
        cloud_ns, cloud = found
        p = self.settings
        try:
            points = finite_xyz(cloud)
            frame = cloud.header.frame_id.lstrip("/")
            try:
                fixed_from_points = self._transforms.lookup(p.fixed_frame, frame, cloud_ns)
                fixed_from_base = self._transforms.lookup(p.fixed_frame, p.base_frame, stamp_ns)
                base_from_points = invert(fixed_from_base) @ fixed_from_points
            except CalibrationError:  # no odometry: take the robot as standing still between the two
                base_from_points = self._transforms.lookup(p.base_frame, frame, stamp_ns)
        except KdError as error:
            self._health.problem("refused_clouds", str(error))
            return None
        return apply(base_from_points, points)

    def _draw_overlay(self, index: int, boxes: Boxes, rig: CalibratedRig, message: Detection3DArray) -> None:
        name = self.settings.camera_names[index]
        found = self._images[index].nearest(to_nanoseconds(message.header.stamp))
        if found is None or name in rig.problems:
            self._health.problem(
                "missing_images", rig.problems.get(name, f"camera '{name}' has no image near the boxes' stamp")
            )
            return
        image = found[1]
        try:
            if isinstance(image, CompressedImage):
                check_format(image.format, image.data)
                rgb = decode_image(bytes(image.data), name)
            else:
                rgb = from_image(image)
        except KdError as error:
            self._health.problem("refused_images", f"camera '{name}': {error}")
            return
        picture = draw_camera(rgb, rig.cameras[index], boxes, width=self.settings.picture_width)
        self._publish(self._overlays[index], picture, message)

    def _publish(self, publisher, picture: np.ndarray, message: Detection3DArray) -> None:  # noqa: ANN001 - of either image type
        if self.settings.picture_transport == "compressed":
            publish(self, publisher, CompressedImage(header=message.header, format="jpeg", data=encode_image(picture)))
        else:
            image = to_image(picture)
            image.header = message.header
            publish(self, publisher, image)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(Visualizer, arguments))


if __name__ == "__main__":
    main()
