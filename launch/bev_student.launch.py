"""The detector on live cameras: ros2 launch kd_perception bev_student.launch.py model:=student.onnx"""

from collections.abc import Callable
from pathlib import Path

from launch.actions import DeclareLaunchArgument

from kd_perception.graph import SHIPPED_MODEL, Graph, bev_student_graph
from kd_perception.launching import describe, is_true
from kd_perception.nuscenes import CAMERA_CHANNELS
from kd_perception.resources import resource
from launch import LaunchDescription

YES_NO = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """What ros2 launch runs."""
    return describe(
        [
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
                "transport",
                default_value="compressed",
                choices=["compressed", "raw"],
                description="what cameras publish",
            ),
            DeclareLaunchArgument(
                "score_threshold", default_value="0.1", description="lowest score of a published box"
            ),
            DeclareLaunchArgument("threads", default_value="0", description="of the engine; 0 lets it choose"),
            DeclareLaunchArgument("use_sim_time", default_value="false", choices=YES_NO, description="follow /clock"),
            DeclareLaunchArgument(
                "build_only",
                default_value="false",
                choices=YES_NO,
                description="open (build and cache) the engine, then end",
            ),
            DeclareLaunchArgument(
                "visualize", default_value="false", choices=YES_NO, description="also publish pictures"
            ),
            DeclareLaunchArgument("rviz", default_value="false", choices=YES_NO, description="also open RViz"),
        ],
        _graph,
    )


def _graph(argument: Callable[[str], str]) -> Graph:
    return bev_student_graph(
        model=Path(argument("model")) if argument("model") else resource(SHIPPED_MODEL),
        engine=argument("engine"),
        cameras=[name for name in argument("cameras").split(",") if name],
        transport=argument("transport"),
        score_threshold=float(argument("score_threshold")),
        threads=int(argument("threads")),
        use_sim_time=is_true(argument("use_sim_time")),
        build_only=is_true(argument("build_only")),
        visualize=is_true(argument("visualize")),
        rviz=is_true(argument("rviz")),
    )
