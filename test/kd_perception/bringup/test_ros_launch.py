"""The standard launch files: they declare the options as arguments, and start what the graph describes."""

import importlib
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from support.checkout import ROOT
from support.domains import free_domain
from support.fake_student import write_fake_student

from kd_perception.bringup.graph import (
    BEV_STUDENT_ARGUMENTS,
    REPLAY_EVALUATE_ARGUMENTS,
    GraphError,
    NodeSpec,
    bev_student_graph,
    replay_evaluate_graph,
)
from kd_perception.errors import ConfigError
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions

LAUNCH = ROOT / "launch"
OFFERS = {"bev_student": BEV_STUDENT_ARGUMENTS, "replay_evaluate": REPLAY_EVALUATE_ARGUMENTS}
GRAPHS = {
    "bev_student": bev_student_graph(DetectorOptions(), GraphOptions()),
    "replay_evaluate": replay_evaluate_graph(
        ReplayOptions(bag=Path("some_bag"), lockstep=True),
        DetectorOptions(),
        EvaluatorOptions(out=Path("out/replay")),
        GraphOptions(use_sim_time=True),
    ),
}


LAUNCH_FILE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
arguments = [word.split(":=", 1) for word in sys.argv[2:]]
from launch.launch_description_sources import PythonLaunchDescriptionSource
include = IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)
service = LaunchService()
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


class Recorded:
    """Stands in for any launch action: keeps how it was made."""

    def __init__(self, *args, **kwargs) -> None:
        self.args, self.kwargs = args, kwargs

    def perform(self, context: dict[str, str]) -> str:
        """As a LaunchConfiguration: the argument's value."""
        return context[self.args[0]]


class Loaded:
    """A launch file loaded without launch: its arguments by name, and the graph that it starts."""

    def __init__(self, entities: list[Recorded], started: list) -> None:
        self.arguments = {item.args[0]: item.kwargs for item in entities if "description" in item.kwargs}
        (self._expand,) = (item.kwargs["function"] for item in entities if "function" in item.kwargs)
        self._started = started

    def graph(self, **given: str):
        """The graph for arguments as a user types them."""
        defaults = {name: declared["default_value"] for name, declared in self.arguments.items()}
        self._expand({**defaults, **given})
        return self._started.pop()


@pytest.fixture
def load(monkeypatch):
    """Loads a launch file with a stand-in for launch."""
    for name in ("launch", "launch.actions", "launch.substitutions", "launch_ros", "launch_ros.actions"):
        module = ModuleType(name)
        module.__getattr__ = lambda attribute: Recorded
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "kd_perception.bringup.ros_launch", raising=False)
    launching, started = importlib.import_module("kd_perception.bringup.ros_launch"), []
    monkeypatch.setattr(launching, "graph_actions", started.append)

    def load_file(name):
        description = runpy.run_path(str(LAUNCH / f"{name}.launch.py"))["generate_launch_description"]()
        return Loaded(description.args[0], started)

    yield load_file
    sys.modules.pop("kd_perception.bringup.ros_launch", None)


@pytest.mark.parametrize("name", OFFERS)
def test_the_arguments_are_the_options(name, load):
    declared = load(name).arguments
    offered = {item.argument: item for part in OFFERS[name] for item in part.options}
    assert list(declared) == list(offered)
    for argument, item in offered.items():
        assert declared[argument]["description"] == item.summary
        one_of = item.choices if item.kind is not tuple else ()  # launch compares the whole text
        assert tuple(declared[argument]["choices"] or ()) == one_of
        default = declared[argument]["default_value"]
        assert default is None if argument == "bag" else item.from_text(default, "launch argument") == item.default


@pytest.mark.parametrize("name", OFFERS)
def test_the_arguments_defaults_build_the_graph_of_its_name(name, load):
    assert load(name).graph(**({"bag": "some_bag"} if name == "replay_evaluate" else {})) == GRAPHS[name]


@pytest.mark.parametrize("name", OFFERS)
def test_arguments_reach_the_graph(name, load):
    bag = {"bag": "some_bag"} if name == "replay_evaluate" else {}
    graph = load(name).graph(model="other.onnx", cameras="a,b", threads="3", visualize="True", **bag)
    parameters = {node.name: node.parameters for node in graph.nodes}
    assert parameters["bev_student"]["model"] == "other.onnx" and parameters["bev_student"]["threads"] == 3
    assert parameters["visualizer"]["camera_names"] == parameters["bev_student"]["camera_names"] == ("a", "b")


@pytest.mark.parametrize(
    "argument, text, expected",
    [
        ("visualize", "perhaps", "true or false"),
        ("rate", "fast", "a number from 0.001 to 1000"),
        ("threads", "-1", "a whole number from 0 to 256"),
        ("bag", "", "a path"),
    ],
)
def test_a_wrong_value_names_its_argument(argument, text, expected, load):
    with pytest.raises(ConfigError, match=f"launch argument {argument} is '{text}', but must be {expected}"):
        load("replay_evaluate").graph(**{"bag": "some_bag", argument: text})


@pytest.mark.parametrize("name", OFFERS)
def test_launch_files_describe_the_graph(name):
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: launch files cannot be loaded")
    from launch.actions import OpaqueFunction
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import LifecycleNode, Node

    from launch import LaunchContext

    context = LaunchContext()
    description = PythonLaunchDescriptionSource(str(LAUNCH / f"{name}.launch.py")).get_launch_description(context)
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert list(arguments) == [item.argument for part in OFFERS[name] for item in part.options]
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


@pytest.fixture
def running():
    """The context of a launch that is not shutting down."""
    return SimpleNamespace(is_shutdown=False)


def test_a_failed_bring_up_or_node_fails_the_launch(load, running):
    """launch ends with status 1 when a handler raises; Shutdown alone ends it with 0."""
    load("bev_student")
    launching = importlib.import_module("kd_perception.bringup.ros_launch")
    failed, well = SimpleNamespace(returncode=1), SimpleNamespace(returncode=0)
    assert launching._brought_up(well, running) == []
    with pytest.raises(GraphError, match="could not be brought up"):
        launching._brought_up(failed, running)
    build_only, student = NodeSpec("bev_student", "bev_student", required=True), NodeSpec("bev_student", "bev_student")
    assert [type(action) for action in launching._ended(build_only, well, running)] == [Recorded]
    for spec, event in ((build_only, failed), (student, failed), (student, well)):
        with pytest.raises(GraphError, match=f"bev_student ended with status {event.returncode}"):
            launching._ended(spec, event, running)
    ending = SimpleNamespace(is_shutdown=True)
    assert launching._ended(student, failed, ending) == launching._brought_up(failed, ending) == []


@pytest.mark.ros
@pytest.mark.parametrize(
    "arguments, status, sentence",
    [
        (["model:=no.onnx", "namespace:=robot1", "use_sim_time:=True"], 1, "the graph could not be brought up"),
        (["use_sim_time:=maybe"], 1, "launch argument use_sim_time is 'maybe', but must be true or false"),
        (["model:={model}", "engine:=onnxruntime", "build_only:=yes"], 0, "runs on onnxruntime"),
    ],
)
def test_the_real_launch_ends_with_a_status(arguments, status, sentence, tmp_path):
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: nothing can be launched")
    given = [word.format(model=write_fake_student(tmp_path / "s.onnx")) for word in arguments]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(free_domain()), "ROS_LOG_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH_FILE, str(LAUNCH / "bev_student.launch.py"), *given], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120.0, check=False,
    )  # fmt: skip
    assert done.returncode == status and sentence in done.stdout, done.stdout
