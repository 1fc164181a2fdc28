"""Real nodes for tests: a domain each, a painted rig that publishes, and a listener that waits for conditions."""

import itertools
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.resources import use_middleware_profile
from kd_perception.ros.images import to_image
from kd_perception.ros.live import LIVE
from kd_perception.ros.qos import TF_STATIC
from kd_perception.ros.stamps import to_time
from support.fake_student import paint

IMAGE_SIZE = (256, 704)  # height, width


class Peer:
    """A node next to the tested ones, in a context of its own: publishes, listens, and waits for conditions."""

    def __init__(self, domain_id: int, name: str = "peer") -> None:
        use_middleware_profile()
        self._context = Context()
        self._context.init(domain_id=domain_id)
        self.node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def listen(self, kind: type, topic: str, qos: QoSProfile | int = 1000) -> list:
        """A list that fills with the topic's messages."""
        messages: list = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def until(self, condition: Callable[[], object], timeout_s: float = 90.0) -> object:
        """Spin until the condition is true and return its value; fails the test after the timeout."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {timeout_s} s, and the condition did not come true"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


class PaintedRig:
    """Cameras that publish painted images, CameraInfo and tf on /<name>/..., as `bev_student_graph` expects them, all
    of it below a namespace if one is given (with a leading slash)."""

    def __init__(
        self, peer: Peer, count: int = 3, transport: str = "compressed", *, namespace: str = "", below: str = "{name}"
    ) -> None:
        """`below`: what stands for the name of each camera in its topics."""
        self.peer = peer
        self.cameras: Sequence[Camera] = ring_rig(count, IMAGE_SIZE[1], IMAGE_SIZE[0])
        self.names = [camera.name for camera in self.cameras]
        kind, suffix = (CompressedImage, "image/compressed") if transport == "compressed" else (Image, "image")
        make = peer.node.create_publisher
        topics = [f"{namespace}/{below.format(name=name)}" for name in self.names]
        self.images = [make(kind, f"{topic}/{suffix}", 10) for topic in topics]
        self.infos = [make(CameraInfo, f"{topic}/camera_info", 10) for topic in topics]
        self.tf = make(TFMessage, f"{namespace}/tf_static", TF_STATIC)
        self._shots = 0

    def connected(self) -> bool:
        """Whether somebody listens to every camera."""
        return all(publisher.get_subscription_count() for publisher in (*self.images, *self.infos))

    def transforms(self) -> list[TransformStamped]:
        """base_link -> each camera."""
        return [LIVE.transform("base_link", camera.name, 0, camera.ego_from_camera) for camera in self.cameras]

    def calibrate(self) -> None:
        """Publish tf_static and one CameraInfo of each camera."""
        self.tf.publish(TFMessage(transforms=self.transforms()))
        for camera, publisher in zip(self.cameras, self.infos, strict=True):
            publisher.publish(LIVE.camera_info(camera, camera.name))

    def pictures(self, xy: Sequence[float] | None, class_name: str = "car") -> list[np.ndarray]:
        """RGB images in which an object stands at x, y (None: nothing); no two are the same, as with real cameras."""
        images = [np.full((*IMAGE_SIZE, 3), 60, np.uint8) for _ in self.cameras]
        for bit, image in itertools.product(range(16), images):
            image[:8, 8 * bit : 8 * bit + 8] = 40 + 20 * (self._shots >> bit & 1)
        self._shots += 1
        if xy is not None:
            assert paint(images, self.cameras, xy, class_name)
        return images

    def shoot(self, stamp_ns: int, xy: Sequence[float] | None = (12.0, 1.0), leave_out: Sequence[int] = ()) -> None:
        """Publish one image of every camera with this stamp."""
        for index, (rgb, publisher) in enumerate(zip(self.pictures(xy), self.images, strict=True)):
            if index not in leave_out:
                publisher.publish(self.message(index, stamp_ns, rgb))

    def message(self, index: int, stamp_ns: int, rgb: np.ndarray) -> CompressedImage | Image:
        """An image message of one camera."""
        if self.images[index].msg_type is Image:
            message = to_image(rgb)
        else:
            jpeg = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
            message = CompressedImage(format="jpeg", data=jpeg.tobytes())
        message.header.stamp = to_time(stamp_ns)
        message.header.frame_id = self.names[index]
        return message
