"""A bag through the detector, scored: ros2 launch kd_perception replay_evaluate.launch.py bag:=B out:=out/replay"""

from kd_perception.bringup.graph import REPLAY_EVALUATE_ARGUMENTS
from kd_perception.bringup.ros_launch import describe
from kd_perception.evaluation.replayed import replayed_bag_graph
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch runs."""
    return describe(replayed_bag_graph, REPLAY_EVALUATE_ARGUMENTS)
