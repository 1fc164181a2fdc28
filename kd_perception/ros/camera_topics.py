"""Topics of a rig's cameras, by their names and how they send images."""

from collections.abc import Callable
from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image

from kd_perception.options.detector import DetectorOptions
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.visualizer import VisualizerOptions
from kd_perception.topics import camera_topics as names_of_topics


@dataclass(frozen=True)
class CameraInput:
    """Where one camera publishes, after remapping; `kind`: the class of its image messages."""

    kind: type[CompressedImage] | type[Image]
    image: str
    camera_info: str


def camera_topics(
    options: DetectorOptions | VisualizerOptions | RecorderOptions, resolve: Callable[[str], str]
) -> tuple[CameraInput, ...]:
    """The topics of each camera, compressed images as image_transport names them.

    `resolve`: a node's resolve_topic_name.
    """
    compressed = options.transport == "compressed"
    kind, suffix = (CompressedImage, "/compressed") if compressed else (Image, "")
    topics = names_of_topics(options.camera_names, options.camera_topics, options.image_topic)
    return tuple(CameraInput(kind, resolve(f"{image}{suffix}"), resolve(info)) for image, info in topics)
