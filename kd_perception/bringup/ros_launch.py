"""A graph as actions of the standard ROS 2 launch system: the launch files in launch/ are thin wrappers of this.

Imports launch and launch_ros, which a ROS 2 installation has and the wheels do not; nothing else imports this module.
"""

from collections.abc import Callable, Sequence
from functools import partial

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from kd_perception.bringup.graph import Graph, GraphError, NodeSpec, RvizSpec
from kd_perception.options.arguments import Arguments, from_texts
from kd_perception.options.option import Option
from kd_perception.resources import PACKAGE, resource
from launch import Action, Event, LaunchContext, LaunchDescription

MANAGER = "lifecycle_manager"


def describe(build: Callable[..., Graph], arguments: Sequence[Arguments]) -> LaunchDescription:
    """A launch description: an argument for each option, and the graph that `build` makes of the options objects.

    A value that is not allowed raises ConfigError, which names the launch argument, when the description is executed.
    """

    def expand(context: LaunchContext) -> list[Action]:
        options = from_texts(arguments, lambda name: LaunchConfiguration(name).perform(context), "launch argument")
        return graph_actions(build(*options))

    declared = [_declaration(option) for part in arguments for option in part.options]
    profile = EnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", default_value=str(resource("config/fastdds.xml")))
    set_profile = SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile)
    return LaunchDescription([*declared, set_profile, OpaqueFunction(function=expand)])


def graph_actions(graph: Graph) -> list[Action]:
    """The nodes, and a manager process that configures and activates them in order and ends; RViz if wanted."""
    actions = [_node_action(spec, graph.namespace) for spec in graph.nodes]
    names = [spec.name for spec in graph.nodes]
    manager = Node(
        package=PACKAGE,
        executable=MANAGER,
        name=MANAGER,
        namespace=graph.namespace,
        output="screen",
        parameters=[{"nodes": names}],
        on_exit=_brought_up,
    )
    actions.append(manager)
    if graph.rviz is not None:
        actions.append(_rviz_action(graph.rviz, graph.namespace))
    return actions


def _declaration(option: Option) -> DeclareLaunchArgument:
    """The launch argument; launch itself offers its choices and asks for one without a default."""
    required = option.required and option.default is None
    return DeclareLaunchArgument(
        option.argument,
        default_value=None if required else option.to_text(option.default),
        description=option.summary,
        choices=list(option.choices) if option.choices and option.kind is not tuple else None,
    )


def _node_action(spec: NodeSpec, namespace: str) -> LifecycleNode:
    defaults = [str(file) for file in spec.parameter_files]
    overrides = {key: list(value) if isinstance(value, tuple) else value for key, value in spec.parameters.items()}
    return LifecycleNode(
        package=PACKAGE, executable=spec.executable, name=spec.name, namespace=namespace, output="screen",
        parameters=[*defaults, overrides], remappings=list(spec.remappings),
        on_exit=partial(_ended, spec),
    )  # fmt: skip


def _rviz_action(spec: RvizSpec, namespace: str) -> Node:
    return Node(
        package="rviz2", executable="rviz2", name="rviz2", namespace=namespace, output="screen",
        arguments=["-d", str(spec.config)], parameters=[{"use_sim_time": spec.use_sim_time}],
        remappings=list(spec.remappings),
    )  # fmt: skip


def _ended(spec: NodeSpec, event: Event, context: LaunchContext) -> list[Action]:
    """The graph ends with its first node: well with a required one that succeeds, else with status 1 by GraphError."""
    if context.is_shutdown:
        return []
    if spec.dispensable:
        ended = f"{spec.name} ended with status {event.returncode}, its log above says why"
        return [LogInfo(msg=f"{ended}; the other nodes go on without it")]
    if not (spec.required and event.returncode == 0):
        raise GraphError(f"{spec.name} ended with status {event.returncode}; its log above says why")
    return [Shutdown(reason=f"{spec.name} has ended")]


def _brought_up(event: Event, context: LaunchContext) -> list[Action]:
    """The manager ends with 0 when all nodes are active; GraphError ends the graph, and launch itself with status 1."""
    if event.returncode != 0 and not context.is_shutdown:
        raise GraphError("the graph could not be brought up; the log above says why")
    return []
