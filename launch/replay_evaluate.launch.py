"""A bag through the detector, judged: ros2 launch kd_perception replay_evaluate.launch.py bag:=B out:=out/replay"""

from collections.abc import Callable
from pathlib import Path

from launch.actions import DeclareLaunchArgument

from kd_perception.graph import SHIPPED_MODEL, Graph, replay_evaluate_graph
from kd_perception.launching import describe, is_true
from kd_perception.nuscenes import CAMERA_CHANNELS
from kd_perception.resources import resource
from launch import LaunchDescription

YES_NO = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch runs."""
    return describe(
        [
            DeclareLaunchArgument("bag", description="the rosbag2; kd bag writes one"),
            DeclareLaunchArgument("out", default_value="out/replay", description="folder of the results"),
            DeclareLaunchArgument(
                "dataroot", default_value="", description="data set with the truth, for the metric; empty: none"
            ),
            DeclareLaunchArgument("version", default_value="", description="name of its tables' folder"),
            DeclareLaunchArgument(
                "model", default_value="", description="student file of kd export; empty: the shipped one"
            ),
            DeclareLaunchArgument("engine", default_value="auto", description="auto, openvino, onnxruntime, ..."),
            DeclareLaunchArgument(
                "cameras",
                default_value=",".join(CAMERA_CHANNELS),
                description="the rig's cameras, the anchor first, separated by commas",
            ),
            DeclareLaunchArgument(
                "lockstep",
                default_value="true",
                choices=YES_NO,
                description="wait for every answer; false plays in real time",
            ),
            DeclareLaunchArgument("rate", default_value="1.0", description="speed in real time"),
            DeclareLaunchArgument("loop", default_value="false", choices=YES_NO, description="play again and again"),
            DeclareLaunchArgument(
                "score_threshold", default_value="0.1", description="lowest score of a published box"
            ),
            DeclareLaunchArgument("threads", default_value="0", description="of the engine; 0 lets it choose"),
            DeclareLaunchArgument(
                "use_sim_time", default_value="true", choices=YES_NO, description="follow the bag's /clock"
            ),
            DeclareLaunchArgument(
                "visualize", default_value="false", choices=YES_NO, description="also publish pictures"
            ),
            DeclareLaunchArgument("rviz", default_value="false", choices=YES_NO, description="also open RViz"),
        ],
        _graph,
    )


def _graph(argument: Callable[[str], str]) -> Graph:
    return replay_evaluate_graph(
        bag=Path(argument("bag")),
        model=Path(argument("model")) if argument("model") else resource(SHIPPED_MODEL),
        out=Path(argument("out")),
        engine=argument("engine"),
        cameras=[name for name in argument("cameras").split(",") if name],
        dataroot=Path(argument("dataroot")) if argument("dataroot") else None,
        version=argument("version"),
        lockstep=is_true(argument("lockstep")),
        rate=float(argument("rate")),
        loop=is_true(argument("loop")),
        score_threshold=float(argument("score_threshold")),
        threads=int(argument("threads")),
        use_sim_time=is_true(argument("use_sim_time")),
        visualize=is_true(argument("visualize")),
        rviz=is_true(argument("rviz")),
    )
