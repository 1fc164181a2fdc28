"""Options of the node `visualizer`, which draws the detections."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.drawing.style import DRAWN_SCORE
from kd_perception.geometry.classes import CLASSES_HELP
from kd_perception.options.option import option
from kd_perception.topics import camera_topics


@dataclass(frozen=True)
class VisualizerOptions:
    """Parameters of the visualizer; it reads them on configure."""

    camera_names: tuple[str, ...] = option(
        "Cameras of the rig in order; outputs number them from 0.", default=CAMERA_CHANNELS, argument="cameras"
    )
    camera_topics: str = option(
        "Prefix of each camera's topics; {name} stands for its name, {i} for its number.", default="{name}"
    )
    image_topic: str = option("Name of a camera's images below that; CameraInfo is camera_info.", default="image")
    transport: Literal["compressed", "raw"] = option("What the cameras publish.", default="compressed")
    rectified: tuple[Literal["auto", "true", "false"], ...] = option(
        "Whether images are rectified: true, false or auto (by topic name); one for all cameras, or one for each.",
        default=("auto",),
    )
    picture_transport: Literal["compressed", "raw"] = option("What this node publishes.", default="raw")
    base_frame: str = option("Frame of the boxes.", default="base_link")
    fixed_frame: str = option(
        "Frame in which points keep their place between their stamp and the boxes'.", default="odom"
    )
    rate_hz: float = option(
        "Most drawings of each picture per second; markers come with every message.",
        default=4.0,
        limits=(0.01, 100.0),
        live=True,
    )
    picture_width: int = option("Width of each camera overlay, in pixels.", default=640, limits=(64, 4096), live=True)
    bev_size: int = option(
        "Width and height of the bird's-eye picture, in pixels.", default=800, limits=(64, 4096), live=True
    )
    bev_extent: float = option(
        "What the bird's-eye picture shows to each side of the robot, in metres.",
        default=51.2,
        limits=(1.0, 500.0),
        live=True,
    )
    classes: Path | None = option(CLASSES_HELP, default=None)
    score_threshold: float = option(
        "Lowest score of a drawn box, in markers and in pictures.", default=DRAWN_SCORE, limits=(0.0, 1.0), live=True
    )

    def __post_init__(self) -> None:
        """Raises ConfigError for names of cameras that make no topics of their own."""
        camera_topics(self.camera_names, self.camera_topics, self.image_topic)
