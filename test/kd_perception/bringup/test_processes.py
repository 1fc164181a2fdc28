"""Bringing graphs up and down as processes: the happy path, failures in a sentence, and Ctrl-C at any moment."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.domains import free_domain
from support.fake_student import write_fake_student

from kd_perception.bringup.graph import Graph, NodeSpec, bev_student_graph, replay_evaluate_graph
from kd_perception.bringup.processes import GraphError, node_command, running
from kd_perception.nodes.bev_student.node import BevStudentParameters
from kd_perception.nodes.evaluator.node import EvaluatorParameters
from kd_perception.nodes.replay.parameters import ReplayParameters
from kd_perception.nodes.visualizer.node import VisualizerParameters

PARAMETERS = {
    "bev_student": BevStudentParameters,
    "evaluator": EvaluatorParameters,
    "replay": ReplayParameters,
    "visualizer": VisualizerParameters,
}


@pytest.mark.parametrize("visualize", [False, True])
def test_graphs_and_parameter_files_only_name_parameters_that_nodes_declare(visualize):
    graphs = (
        bev_student_graph(Path("m.onnx"), visualize=visualize),
        replay_evaluate_graph(Path("bag"), Path("m.onnx"), Path("out"), visualize=visualize),
    )
    for node in (node for graph in graphs for node in graph.nodes):
        declared = set(PARAMETERS[node.executable].__dataclass_fields__) | {"use_sim_time"}
        in_file = yaml.safe_load(node.parameter_file.read_text())["/**"]["ros__parameters"]
        assert set(node.parameters) | set(in_file) <= declared


def test_parameter_files_state_the_defaults():
    for node in bev_student_graph(Path("m.onnx"), visualize=True).nodes:
        fields = PARAMETERS[node.executable].__dataclass_fields__
        for name, value in yaml.safe_load(node.parameter_file.read_text())["/**"]["ros__parameters"].items():
            assert fields[name].default == value, name


def test_command_keeps_the_types_of_parameters(tmp_path):
    node = NodeSpec("replay", "player", {"bag": "1", "rate": 2.0, "topics": ("a", "b")}, None, (("~/x", "/y"),))
    command = node_command(node, tmp_path)
    assert command[:3] == [sys.executable, "-m", "kd_perception.nodes.replay.node"] and "~/x:=/y" in command
    written = yaml.safe_load((tmp_path / "player.yaml").read_text())["/**"]["ros__parameters"]
    assert written == {"bag": "1", "rate": 2.0, "topics": ["a", "b"]}


def test_only_the_required_node_ends_the_graph():
    assert bev_student_graph(Path("m.onnx")).required is None
    assert bev_student_graph(Path("m.onnx"), build_only=True).required.name == "bev_student"
    assert replay_evaluate_graph(Path("bag"), Path("m.onnx"), Path("out")).required.name == "replay"


@pytest.mark.ros
def test_a_missing_bag_is_told_in_a_sentence_and_nothing_stays_behind(tmp_path):
    model = write_fake_student(tmp_path / "s.onnx")
    graph = replay_evaluate_graph(tmp_path / "no_bag", model, tmp_path / "out", "onnxruntime", threads=1)
    with pytest.raises(GraphError, match="replay could not be configured: bag .*no_bag does not exist"):
        with running(graph, domain_id=free_domain()):
            pass
    assert not [path.name for path in (tmp_path / "out").glob("*")]  # no half-written bag of detections


@pytest.mark.ros
def test_a_node_that_dies_is_told_with_its_last_words(tmp_path):
    graph = bev_student_graph(write_fake_student(tmp_path / "s.onnx"), "onnxruntime", threads=1)
    with running(graph, domain_id=free_domain()) as processes:
        processes.nodes[0].process.kill()
        with pytest.raises(GraphError, match="bev_student ended with status -9"):
            processes.wait(20.0)


@pytest.mark.ros
def test_a_parameter_out_of_range_is_told(tmp_path):
    (node,) = bev_student_graph(write_fake_student(tmp_path / "s.onnx"), "onnxruntime", threads=1).nodes
    graph = Graph((replace(node, parameters={**node.parameters, "score_threshold": 1.5}),))
    with pytest.raises(GraphError, match="score_threshold"):
        with running(graph, domain_id=free_domain()):
            pass


def start_kd_up(tmp_path: Path, domain: int) -> subprocess.Popen:
    model = write_fake_student(tmp_path / "s.onnx")
    command = [sys.executable, "-m", "kd_perception.cli", "up", "bev_student", "--model", str(model)]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    return subprocess.Popen(
        [*command, "--engine", "onnxruntime", "--threads", "1"], env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def node_process(pid: int) -> int | None:
    """The node that a kd process has started, by /proc."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            if b"kd_perception.nodes.bev_student.node" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


@pytest.mark.ros
@pytest.mark.parametrize("moment", ["while starting", "when running"])
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_ends_everything_without_a_traceback(tmp_path, moment, times):
    process = start_kd_up(tmp_path, free_domain())
    deadline = time.monotonic() + 60.0
    while (child := node_process(process.pid)) is None:
        assert time.monotonic() < deadline and process.poll() is None, "kd up did not start its node"
        time.sleep(0.02)
    lines = []
    if moment == "when running":
        while not any("painted@" in line for line in lines):
            lines.append(process.stdout.readline())
            assert lines[-1], "kd up ended early: " + "".join(lines)
    for _ in range(times):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.05)
    output = "".join(lines) + process.communicate(timeout=30.0)[0]
    assert process.returncode == 130, output
    assert not re.search(r"Traceback|KeyboardInterrupt|Error", output), output
    assert not Path(f"/proc/{child}").exists()
