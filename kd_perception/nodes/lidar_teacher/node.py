"""The LiDAR teacher node: point clouds, tf, odometry in; boxes in base_link at the newest cloud's stamp out.

Messages, diagnostics and engines are those of `bev_student`.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import run
from kd_perception.nodes.common.output_formats import chosen_formats
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.options.teacher import TeacherOptions


class LidarTeacher(ManagedNode[TeacherOptions]):
    """Lifecycle: configure loads the teacher, activate listens, deactivate stops that, cleanup frees the teacher."""

    def __init__(self) -> None:
        super().__init__("lidar_teacher", TeacherOptions())

    def configure(self, ending: ExitStack) -> None:
        """Load the teacher and open the engine."""
        p = self.settings
        self._health = Health(self)
        ending.callback(self._health.close)
        formats = chosen_formats(p.output_messages)
        outputs = Outputs(self, formats, frame_id=p.base_frame, camera_names=p.lidar_topics, model="")
        ending.callback(outputs.close)

    def activate(self, ending: ExitStack) -> None:
        """Start listening, once the expected subscribers are there."""
        ending.enter_context(self._health.active())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(LidarTeacher, arguments))


if __name__ == "__main__":
    main()
