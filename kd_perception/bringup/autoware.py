"""The preset `autoware`: topics, frames and messages as Autoware's camera-only launch has them.

Names: autoware_launch's object_recognition_camera.launch.xml, which feeds what comes on camera_only/objects to its
tracker. Autoware has no frame odom: its odometry is the pose in map.
"""

from collections.abc import Sequence
from dataclasses import replace

from kd_perception.messages.detections import FORMATS
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions

FORMAT = "autoware"  # of the option output_messages
VALUES = {
    "camera_names": tuple(f"camera{i}" for i in range(6)),
    "camera_topics": "/sensing/camera/{name}",
    "image_topic": "image_rect_color",
    "odometry_frame": "map",
}
TOPICS = {
    "~/input/odometry": "/localization/kinematic_state",
    "~/input/points": "/sensing/lidar/concatenated/pointcloud",
}
OBJECTS = (FORMATS[FORMAT].topic, "/perception/object_recognition/detection/camera_only/objects")  # a remapping


def with_defaults(detector: DetectorOptions) -> DetectorOptions:
    """The detector with Autoware's values where it has the defaults, and Autoware's messages among its output."""
    plain, messages = DetectorOptions(), detector.output_messages
    changed = {name: value for name, value in VALUES.items() if getattr(detector, name) == getattr(plain, name)}
    return replace(detector, output_messages=messages if FORMAT in messages else (*messages, FORMAT), **changed)


def renamed(remappings: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The remappings of a node with Autoware's topics in place of our defaults."""
    plain = (GraphOptions().odometry_topic, GraphOptions().points_topic)
    return tuple((name, TOPICS.get(name, topic) if topic in plain else topic) for name, topic in remappings)
