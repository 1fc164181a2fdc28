"""A graph as actions of the standard ROS 2 launch system: the launch files in launch/ are thin wrappers of this.

Imports launch and launch_ros, which a ROS 2 installation has and the wheels do not; nothing else imports this module.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from kd_perception.bringup.graph import Graph, NodeSpec
from kd_perception.datasets.nuscenes import CAMERA_CHANNELS
from kd_perception.resources import PACKAGE, SHIPPED_STUDENT, resource
from launch import Action, Event, LaunchContext, LaunchDescription

MANAGER = "lifecycle_manager"
YES_NO = ("true", "false")


def argument(name: str, default: str, description: str, choices: Sequence[str] | None = None) -> DeclareLaunchArgument:
    """A launch argument with a default."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=list(choices) if choices else None
    )


def detector_arguments(use_sim_time: bool) -> list[DeclareLaunchArgument]:
    """Arguments of every launch file that starts the detector; `detector_options` reads them."""
    return [
        argument("model", "", "student file of kd export; empty: the shipped one"),
        argument("engine", "auto", "auto, openvino, onnxruntime, ..."),
        argument("cameras", ",".join(CAMERA_CHANNELS), "the rig's cameras, the anchor first, separated by commas"),
        argument("score_threshold", "0.1", "lowest score of a published box"),
        argument("threads", "0", "of the engine; 0 lets it choose"),
        argument("use_sim_time", str(use_sim_time).lower(), "follow /clock", YES_NO),
        argument("visualize", "false", "also publish pictures", YES_NO),
        argument("rviz", "false", "also open RViz", YES_NO),
    ]


def detector_options(value: Callable[[str], str]) -> dict[str, Path | str | list[str] | float | int | bool]:
    """The keyword arguments of kd_perception.bringup.graph's functions that `detector_arguments` stand for."""
    return {
        "model": Path(value("model")) if value("model") else resource(SHIPPED_STUDENT),
        "engine": value("engine"),
        "cameras": [name for name in value("cameras").split(",") if name],
        "score_threshold": float(value("score_threshold")),
        "threads": int(value("threads")),
        "use_sim_time": is_true(value("use_sim_time")),
        "visualize": is_true(value("visualize")),
        "rviz": is_true(value("rviz")),
    }


def describe(
    arguments: Sequence[DeclareLaunchArgument], build: Callable[[Callable[[str], str]], Graph]
) -> LaunchDescription:
    """A launch description: its arguments, and the graph that `build` makes of a function argument name -> value."""

    def expand(context: LaunchContext) -> list[Action]:
        return graph_actions(build(lambda name: LaunchConfiguration(name).perform(context)))

    profile = EnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", default_value=str(resource("config/fastdds.xml")))
    set_profile = SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile)
    return LaunchDescription([*arguments, set_profile, OpaqueFunction(function=expand)])


def graph_actions(graph: Graph) -> list[Action]:
    """The nodes, and a manager process that configures and activates them in order and ends; RViz if wanted."""
    actions = [_node_action(spec) for spec in graph.nodes]
    names = [spec.name for spec in graph.nodes]
    manager = Node(
        package=PACKAGE,
        executable=MANAGER,
        name=MANAGER,
        output="screen",
        parameters=[{"nodes": names}],
        on_exit=_end_if_failed,
    )
    actions.append(manager)
    if graph.rviz is not None:
        actions.append(Node(package="rviz2", executable="rviz2", arguments=["-d", str(graph.rviz)], output="screen"))
    return actions


def is_true(value: str) -> bool:
    """Whether a launch argument says yes; raises ValueError unless it is true or false."""
    if value.lower() not in YES_NO:
        raise ValueError(f"launch argument '{value}' must be true or false")
    return value.lower() == "true"


def _node_action(spec: NodeSpec) -> LifecycleNode:
    defaults = [str(spec.parameter_file)] if spec.parameter_file is not None else []
    overrides = {key: list(value) if isinstance(value, tuple) else value for key, value in spec.parameters.items()}
    return LifecycleNode(
        package=PACKAGE, executable=spec.executable, name=spec.name, namespace="", output="screen",
        parameters=[*defaults, overrides], remappings=list(spec.remappings),
        on_exit=partial(_end, f"{spec.name} has ended"),
    )  # fmt: skip


def _end(reason: str, event: Event, context: LaunchContext) -> list[Action]:
    """The graph ends with its first node."""
    return [] if context.is_shutdown else [Shutdown(reason=reason)]


def _end_if_failed(event: Event, context: LaunchContext) -> list[Action]:
    """The manager ends with 0 when all nodes are active, and otherwise takes the graph with it."""
    if event.returncode == 0 or context.is_shutdown:
        return []
    return [LogInfo(msg="the graph could not be brought up; the log above says why"), Shutdown(reason="a node failed")]
