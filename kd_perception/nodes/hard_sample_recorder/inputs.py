"""What the recorder subscribes to, and under which name each stream is held and kept."""

from collections.abc import Callable
from dataclasses import dataclass

from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, PointCloud2
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import Detection3DArray, FrameStatus
from kd_perception.options.recorder import RecorderOptions
from kd_perception.ros.camera_topics import CameraInput, camera_topics
from kd_perception.ros.qos import CAMERA_INFO, EVERY_RESULT, ODOMETRY, SENSOR, TF, TF_STATIC
from kd_perception.topics import TF_STATIC_TOPIC, TF_TOPIC


@dataclass(frozen=True)
class DetectorTopics:
    """Where one side publishes its answers."""

    objects: str
    status: str


@dataclass(frozen=True)
class RecorderTopics:
    """All topics after remapping."""

    cameras: tuple[CameraInput, ...]
    clouds: tuple[str, ...]
    student: DetectorTopics
    teacher: DetectorTopics
    odometry: str
    tf: str
    tf_static: str

    @staticmethod
    def of(options: RecorderOptions, resolve: Callable[[str], str]) -> "RecorderTopics":
        """The topics of a node; `resolve`: its resolve_topic_name."""

        def side(name: str) -> DetectorTopics:
            return DetectorTopics(resolve(f"~/input/{name}/objects"), resolve(f"~/input/{name}/status"))

        return RecorderTopics(
            cameras=camera_topics(options, resolve),
            clouds=tuple(resolve(topic) for topic in options.lidar_topics),
            student=side("student"),
            teacher=side("teacher"),
            odometry=resolve("~/input/odometry"),
            tf=resolve(TF_TOPIC),
            tf_static=resolve(TF_STATIC_TOPIC),
        )

    def streams(self) -> list[tuple[type, str, QoSProfile]]:
        """Message class, topic and QoS of every subscription."""
        images = [(camera.kind, camera.image, SENSOR) for camera in self.cameras]
        infos = [(CameraInfo, camera.camera_info, CAMERA_INFO) for camera in self.cameras]
        clouds = [(PointCloud2, topic, SENSOR) for topic in self.clouds]
        sides = (self.student, self.teacher)
        return [
            *images,
            *infos,
            *clouds,
            *((Detection3DArray, side.objects, EVERY_RESULT) for side in sides),
            *((FrameStatus, side.status, EVERY_RESULT) for side in sides),
            (Odometry, self.odometry, ODOMETRY),
            (TFMessage, self.tf, TF),
            (TFMessage, self.tf_static, TF_STATIC),
        ]
