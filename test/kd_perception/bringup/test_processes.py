"""Bringing graphs up and down as processes: the happy path, failures in a sentence, and signals at any moment."""

import os
import re
import shutil
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

from kd_perception.bringup import processes
from kd_perception.bringup.graph import NodeSpec, bev_student_graph, replay_evaluate_graph
from kd_perception.bringup.processes import GraphError, node_command, running
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions

DETECTOR = DetectorOptions(model=Path("m.onnx"))


def replay_graph(detector, bag, out):
    """A bag in lockstep through the detector."""
    replay = ReplayOptions(bag=bag, lockstep=True)
    return replay_evaluate_graph(replay, detector, EvaluatorOptions(out=out), GraphOptions(use_sim_time=True))


def test_a_graph_passes_its_arguments_and_what_differs_from_the_parameter_files():
    student, visualizer = bev_student_graph(
        replace(DETECTOR, camera_names=("a", "b"), sync_tolerance_ms=10.0), GraphOptions(visualize=True)
    ).nodes
    assert student.parameters == {
        "model": "m.onnx", "engine": "auto", "camera_names": ("a", "b"), "transport": "compressed",
        "score_threshold": DetectorOptions.score_threshold, "threads": 0, "build_only": False,
        "engine_cache": "", "ignore_mask": ("",), "output_messages": ("kd",),
        "sync_tolerance_ms": 10.0, "use_sim_time": False,
    }  # fmt: skip
    assert visualizer.parameters == {
        "camera_names": ("a", "b"),
        "transport": "compressed",
        "classes": "m.onnx",
        "use_sim_time": False,
    }


def test_rviz_has_what_it_shows_and_the_graph_s_clock(tmp_path, monkeypatch):
    """--rviz alone starts the visualizer, whose pictures it shows; on /clock RViz is, too."""
    monkeypatch.setattr(processes.shutil, "which", lambda name: f"/opt/{name}")
    for sim_time in (False, True):
        graph = bev_student_graph(DETECTOR, GraphOptions(rviz=True, use_sim_time=sim_time))
        assert [node.name for node in graph.nodes] == ["bev_student", "visualizer"]
        *_, (name, command) = processes._commands(graph, tmp_path)
        assert name == "rviz2" and command[:2] == ["/opt/rviz2", "-d"] and Path(command[2]).is_file()
        assert command[3:] == ["--ros-args", "-p", f"use_sim_time:={str(sim_time).lower()}"]
    replay = replay_evaluate_graph(
        ReplayOptions(bag=Path("bag")), DETECTOR, EvaluatorOptions(out=Path("out")), GraphOptions(rviz=True)
    )
    parameters = {node.name: node.parameters for node in replay.nodes}
    assert "objects=2" in parameters["bev_student"]["wait_for_subscribers"] and "visualizer" in parameters


def test_building_an_engine_shows_nothing():
    graph = bev_student_graph(replace(DETECTOR, build_only=True), GraphOptions(visualize=True, rviz=True))
    assert [node.name for node in graph.nodes] == ["bev_student"] and graph.rviz is None


def test_lockstep_waits_for_late_cameras_and_for_all_who_listen():
    graph = replay_graph(DETECTOR, Path("bag"), Path("out"))
    parameters = {node.name: node.parameters for node in graph.nodes}
    assert parameters["bev_student"]["sync_deadline_ms"] > DetectorOptions.sync_deadline_ms
    assert parameters["bev_student"]["reliable_input"] is True
    assert parameters["bev_student"]["wait_for_subscribers"] == ("objects=1", "status=2")
    assert {"CAM_BACK/image/compressed=1", "sample=1", "tf=2"} <= set(parameters["replay"]["wait_for_subscribers"])
    assert parameters["replay"]["finished_service"] == "evaluator/evaluate"


def test_command_keeps_the_types_of_parameters(tmp_path):
    node = NodeSpec("replay", "player", {"bag": "1", "rate": 2.0, "topics": ("a", "b")}, (), (("~/x", "/y"),))
    command = node_command(node, tmp_path)
    assert command[:3] == [sys.executable, "-m", "kd_perception.nodes.replay.node"] and "~/x:=/y" in command
    written = yaml.safe_load((tmp_path / "player.yaml").read_text())["/**"]["ros__parameters"]
    assert written == {"bag": "1", "rate": 2.0, "topics": ["a", "b"]}


def test_only_the_required_node_ends_the_graph():
    assert bev_student_graph(DETECTOR, GraphOptions()).required is None
    assert bev_student_graph(replace(DETECTOR, build_only=True), GraphOptions()).required.name == "bev_student"
    assert replay_graph(DETECTOR, Path("bag"), Path("out")).required.name == "replay"


@pytest.mark.ros
def test_a_missing_bag_is_told_in_a_sentence_and_nothing_stays_behind(tmp_path):
    graph = replay_graph(painted_detector(tmp_path), tmp_path / "no_bag", tmp_path / "out")
    with pytest.raises(GraphError, match="replay could not be configured: bag .*no_bag does not exist"):
        with running(graph, domain_id=free_domain()):
            pass
    assert not [path.name for path in (tmp_path / "out").glob("*")]  # no half-written bag of detections


@pytest.mark.ros
def test_a_node_that_dies_is_told_with_its_last_words(tmp_path):
    graph = bev_student_graph(painted_detector(tmp_path), GraphOptions())
    with running(graph, domain_id=free_domain()) as processes:
        processes.nodes[0].process.kill()
        with pytest.raises(GraphError, match="bev_student ended with status -9"):
            processes.wait(20.0)


@pytest.mark.ros
def test_a_parameter_out_of_range_is_told(tmp_path):
    graph = bev_student_graph(replace(painted_detector(tmp_path), score_threshold=1.5), GraphOptions())
    with pytest.raises(GraphError, match="score_threshold"):
        with running(graph, domain_id=free_domain()):
            pass


def painted_detector(folder: Path) -> DetectorOptions:
    """A detector whose student finds painted objects."""
    return DetectorOptions(model=write_fake_student(folder / "s.onnx"), engine="onnxruntime", threads=1)


def kd_up(folder: Path) -> list[str]:
    """A command that runs the detector."""
    model = write_fake_student(folder / "s.onnx")
    command = [sys.executable, "-m", "kd_perception.cli", "up", "bev_student", "--model", str(model)]
    return [*command, "--engine", "onnxruntime", "--threads", "1"]


def start_kd_up(tmp_path: Path, domain: int) -> subprocess.Popen:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    return subprocess.Popen(
        kd_up(tmp_path), env=environment, text=True, start_new_session=True,
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
@pytest.mark.parametrize(
    "moment, signals",
    [
        ("while starting", [signal.SIGINT]),
        ("while starting", [signal.SIGHUP, signal.SIGTERM]),
        ("when running", [signal.SIGINT] * 3),
        ("when running", [signal.SIGTERM]),  # as systemd, docker and timeout do
    ],
)
def test_a_signal_ends_everything_without_a_traceback(tmp_path, moment, signals):
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
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(0.05)
    output = "".join(lines) + process.communicate(timeout=30.0)[0]
    assert process.returncode == 130, output
    assert not re.search(r"Traceback|KeyboardInterrupt|Error", output), output
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.ros
@pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid, which gives a process a terminal, is not installed")
def test_a_closed_terminal_ends_everything(tmp_path):
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *kd_up(tmp_path)], stdin=inside, stdout=inside, stderr=inside,
        env={**os.environ, "ROS_DOMAIN_ID": str(free_domain())},
    )  # fmt: skip
    os.close(inside)
    shown = b""
    while b"painted@" not in shown:
        shown += os.read(terminal, 1024)
    child = node_process(process.pid)
    os.close(terminal)
    assert process.wait(timeout=30.0) == 130
    assert not Path(f"/proc/{child}").exists()
