"""The standard launch files: they load, declare what the README says, and start what the graph describes."""

import ast
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
EXPECTED = {
    "bev_student": {"model", "engine", "cameras", "use_sim_time", "build_only", "rviz"},
    "replay_evaluate": {"model", "engine", "cameras", "bag", "use_sim_time", "rviz"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_launch_files_use_the_arguments_that_they_declare(name):
    """Read from the source, so that it also holds where launch is not installed."""
    calls = [
        node for node in ast.walk(ast.parse((LAUNCH / f"{name}.launch.py").read_text())) if isinstance(node, ast.Call)
    ]
    first = {"DeclareLaunchArgument": set(), "argument": set()}
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id in first:
            first[call.func.id].add(call.args[0].value)
    assert first["DeclareLaunchArgument"] == first["argument"] >= EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_launch_files_describe_the_graph(name):
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: launch files cannot be loaded")
    from launch.actions import OpaqueFunction
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import LifecycleNode, Node

    from launch import LaunchContext

    context = LaunchContext()
    description = PythonLaunchDescriptionSource(str(LAUNCH / f"{name}.launch.py")).get_launch_description(context)
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert set(arguments) >= EXPECTED[name] and all(argument.description for argument in arguments.values())
    context.launch_configurations.update({"bag": "some_bag", "model": "some.onnx"})
    nodes = []
    for entity in description.entities:
        if isinstance(entity, OpaqueFunction):
            nodes += entity.execute(context)
        elif not isinstance(entity, Node):
            entity.visit(context)
    names = [node.node_executable for node in nodes if isinstance(node, Node)]
    assert names[-1] == "lifecycle_manager" and "bev_student" in names
    assert all(isinstance(node, LifecycleNode) for node in nodes[:-1])
