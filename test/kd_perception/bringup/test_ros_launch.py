"""The standard launch files: they load, declare what the README says, and start what the graph describes."""

import importlib
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.checkout import ROOT

from kd_perception.bringup.graph import bev_student_graph, replay_evaluate_graph
from kd_perception.resources import SHIPPED_STUDENT, resource

LAUNCH = ROOT / "launch"
EXPECTED = {
    "bev_student": {"model", "engine", "cameras", "use_sim_time", "build_only", "rviz"},
    "replay_evaluate": {"model", "engine", "cameras", "bag", "use_sim_time", "rviz"},
}


class Recorded:
    """Stands in for any launch action: keeps how it was made."""

    def __init__(self, *args, **kwargs) -> None:
        self.args, self.kwargs = args, kwargs


@pytest.fixture
def load(monkeypatch):
    """Loads a launch file without launch: its arguments by name, and the function that builds its graph."""
    for name in ("launch", "launch.actions", "launch.substitutions", "launch_ros", "launch_ros.actions"):
        module = ModuleType(name)
        module.__getattr__ = lambda attribute: Recorded
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "kd_perception.bringup.ros_launch", raising=False)

    def load_file(name):
        launching = importlib.import_module("kd_perception.bringup.ros_launch")
        made = {}
        monkeypatch.setattr(
            launching, "describe", lambda arguments, build: made.update(arguments=arguments, build=build)
        )
        runpy.run_path(str(LAUNCH / f"{name}.launch.py"))["generate_launch_description"]()
        return {item.args[0]: item.kwargs for item in made["arguments"]}, made["build"]

    yield load_file
    sys.modules.pop("kd_perception.bringup.ros_launch", None)


GRAPHS = {
    "bev_student": lambda: bev_student_graph(resource(SHIPPED_STUDENT)),
    "replay_evaluate": lambda: replay_evaluate_graph(Path("some_bag"), resource(SHIPPED_STUDENT), Path("out/replay")),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_arguments_defaults_build_the_graph_of_its_name(name, load):
    arguments, build = load(name)
    assert set(arguments) >= EXPECTED[name] and all(given["description"] for given in arguments.values())
    defaults = {key: given.get("default_value", "some_bag") for key, given in arguments.items()}
    assert build(defaults.__getitem__) == GRAPHS[name]()


@pytest.mark.parametrize("name", EXPECTED)
def test_arguments_reach_the_graph(name, load):
    arguments, build = load(name)
    values = {key: given.get("default_value", "some_bag") for key, given in arguments.items()}
    graph = build({**values, "model": "other.onnx", "cameras": "a,b", "threads": "3", "visualize": "true"}.__getitem__)
    parameters = {node.name: node.parameters for node in graph.nodes}
    assert parameters["bev_student"]["model"] == "other.onnx" and parameters["bev_student"]["threads"] == 3
    assert parameters["visualizer"]["camera_names"] == parameters["bev_student"]["camera_names"] == ("a", "b")
    with pytest.raises(ValueError, match="must be true or false"):
        build({**values, "visualize": "perhaps"}.__getitem__)


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
