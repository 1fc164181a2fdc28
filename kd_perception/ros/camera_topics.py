"""Topics of a rig's cameras, by their names and how they send images."""

from collections.abc import Callable
from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image

from kd_perception.options.detector import DetectorOptions
from kd_perception.options.visualizer import VisualizerOptions


@dataclass(frozen=True)
class CameraInput:
    """Where one camera publishes, after remapping; `kind`: the class of its image messages."""

    kind: type[CompressedImage] | type[Image]
    image: str
    camera_info: str


def camera_topics(
    options: DetectorOptions | VisualizerOptions, resolve: Callable[[str], str]
) -> tuple[CameraInput, ...]:
    """The topics of each camera, compressed images as image_transport names them.

    `resolve`: a node's resolve_topic_name.
    """
    compressed = options.transport == "compressed"
    kind, image = (CompressedImage, f"{options.image_topic}/compressed") if compressed else (Image, options.image_topic)
    topics = []
    for i, name in enumerate(options.camera_names):
        prefix = options.camera_topics.replace("{name}", name).replace("{i}", str(i))
        topics.append(CameraInput(kind, resolve(f"{prefix}/{image}"), resolve(f"{prefix}/camera_info")))
    return tuple(topics)
