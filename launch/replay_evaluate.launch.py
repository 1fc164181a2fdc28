"""A bag through the detector, judged: ros2 launch kd_perception replay_evaluate.launch.py bag:=B out:=out/replay"""

from collections.abc import Callable
from pathlib import Path

from launch.actions import DeclareLaunchArgument

from kd_perception.bringup.graph import Graph, replay_evaluate_graph
from kd_perception.bringup.ros_launch import YES_NO, argument, describe, detector_arguments, detector_options, is_true
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch runs."""
    own = [
        DeclareLaunchArgument("bag", description="the rosbag2; kd bag writes one"),
        argument("out", "out/replay", "folder of the results"),
        argument("dataroot", "", "data set with the truth, for the metric; empty: none"),
        argument("version", "", "name of its tables' folder"),
        argument("lockstep", "true", "wait for every answer; false plays in real time", YES_NO),
        argument("rate", "1.0", "speed in real time"),
        argument("loop", "false", "play again and again", YES_NO),
    ]
    return describe([*own, *detector_arguments(use_sim_time=True)], _graph)


def _graph(value: Callable[[str], str]) -> Graph:
    return replay_evaluate_graph(
        bag=Path(value("bag")),
        out=Path(value("out")),
        dataroot=Path(value("dataroot")) if value("dataroot") else None,
        version=value("version"),
        lockstep=is_true(value("lockstep")),
        rate=float(value("rate")),
        loop=is_true(value("loop")),
        **detector_options(value),
    )
