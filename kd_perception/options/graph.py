"""Options of a whole graph of nodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_perception.datasets.rigs import LIDAR
from kd_perception.errors import ConfigError
from kd_perception.options.option import option
from kd_perception.topics import ODOMETRY, TF_TOPIC, check_name


@dataclass(frozen=True)
class GraphOptions:
    """What `kd up` and the launch files start around the detector, and where it finds its input."""

    use_sim_time: bool = option("Follow /clock instead of the system's time.", default=False)
    visualize: bool = option("Also publish pictures: bird's-eye view and camera overlays.", default=False)
    continual: bool = option(
        "Also run the LiDAR teacher, and keep the frames that it disputes: needs teacher and recording.", default=False
    )
    preset: Literal["none", "autoware"] = option("Topics, frames and messages of another stack.", default="none")
    rviz: bool = option("Also open RViz, and publish the markers and pictures that it shows.", default=False)
    namespace: str = option(
        "Namespace of all nodes and of their relative topics, for several robots on a network.", default=""
    )
    parameter_file: Path | None = option(
        "Parameter file (YAML) of the robot, for all nodes; arguments that differ from their defaults override it.",
        default=None,
    )
    odometry_topic: str = option("Topic of the odometry.", default=ODOMETRY)
    points_topic: str = option("Topic of the point cloud that pictures show.", default=f"{LIDAR}/points")
    tf_topic: str = option(
        "Topic of transforms, that of static ones with _static behind it; /tf where robots share one tree.",
        default=TF_TOPIC,
    )

    def __post_init__(self) -> None:
        """Raises ConfigError for names that ROS does not take."""
        check_name(self.namespace, "namespace")
        for name in ("odometry_topic", "points_topic", "tf_topic"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; leave it out or name a topic")
            check_name(getattr(self, name), name)

    @property
    def visualizer(self) -> bool:
        """Whether the visualizer runs: it feeds RViz."""
        return self.visualize or self.rviz
