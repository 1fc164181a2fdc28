"""The detector on live cameras: ros2 launch kd_perception bev_student.launch.py model:=student.onnx"""

from collections.abc import Callable

from kd_perception.bringup.graph import Graph, bev_student_graph
from kd_perception.bringup.ros_launch import YES_NO, argument, describe, detector_arguments, detector_options, is_true
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch runs."""
    own = [
        argument("transport", "compressed", "what cameras publish", ("compressed", "raw")),
        argument("build_only", "false", "open (build and cache) the engine, then end", YES_NO),
    ]
    return describe([*detector_arguments(use_sim_time=False), *own], _graph)


def _graph(value: Callable[[str], str]) -> Graph:
    return bev_student_graph(
        transport=value("transport"), build_only=is_true(value("build_only")), **detector_options(value)
    )
