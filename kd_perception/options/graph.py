"""Options of a whole graph of nodes."""

from dataclasses import dataclass
from typing import Literal

from kd_perception.options.option import option


@dataclass(frozen=True)
class GraphOptions:
    """What `kd up` and the launch files start around the detector."""

    use_sim_time: bool = option("Follow /clock instead of the system's time.", default=False)
    visualize: bool = option("Also publish pictures: bird's-eye view and camera overlays.", default=False)
    preset: Literal["none", "autoware"] = option("Topics, frames and messages of another stack.", default="none")
    rviz: bool = option("Also open RViz, and publish the markers and pictures that it shows.", default=False)

    @property
    def visualizer(self) -> bool:
        """Whether the visualizer runs: it feeds RViz."""
        return self.visualize or self.rviz
