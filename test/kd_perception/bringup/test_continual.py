"""The detector with what teaches it: who listens to whom, what has to be given, and that the detector outlives both."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from kd_perception.bringup.graph import BEV_STUDENT_ARGUMENTS, GraphError, bev_student_graph
from kd_perception.bringup.processes import GraphProcesses
from kd_perception.errors import ConfigError
from kd_perception.options.arguments import from_texts
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.teacher import TeacherOptions

TEACHER, RECORDER = TeacherOptions(model=Path("t.onnx")), RecorderOptions(folder=Path("kept"))


def graph(detector: DetectorOptions | None = None, **options):
    detector = detector or DetectorOptions(model=Path("m.onnx"))
    return bev_student_graph(detector, GraphOptions(continual=True, **options), TEACHER, RECORDER)


def test_the_recorder_listens_to_both_sides_on_the_detectors_topics():
    detector = DetectorOptions(
        model=Path("m.onnx"), camera_names=("a", "b"), transport="raw", base_frame="body", output_messages=("vision",)
    )
    nodes = {node.name: node for node in graph(detector, odometry_topic="/o", points_topic="/p").nodes}
    assert list(nodes) == ["bev_student", "hard_sample_recorder", "lidar_teacher"]
    recorder = nodes["hard_sample_recorder"]
    expected = {"folder": "kept", "budget_mb": 10_000, "camera_names": ("a", "b"), "transport": "raw"}
    expected |= {"base_frame": "body", "classes": "m.onnx", "teacher_classes": "t.onnx", "use_sim_time": False}
    assert recorder.parameters == expected
    topics = dict(recorder.remappings)
    assert topics["~/input/odometry"] == "/o" and topics["~/input/points"] == "/p"
    assert topics["~/input/teacher/objects"] == "lidar_teacher/output/objects"
    assert topics["~/input/student/status"] == "bev_student/output/status"
    assert dict(nodes["lidar_teacher"].remappings)["~/input/points"] == "/p"
    assert nodes["bev_student"].parameters["output_messages"] == ("kd", "vision"), "the recorder reads our own"
    assert not nodes["bev_student"].dispensable and recorder.dispensable and nodes["lidar_teacher"].dispensable


def test_autowares_topics_reach_all_nodes():
    nodes = {node.name: node for node in graph(preset="autoware").nodes}
    recorder = nodes["hard_sample_recorder"]
    assert dict(recorder.remappings)["~/input/points"] == "/sensing/lidar/concatenated/pointcloud"
    assert dict(recorder.remappings)["~/input/odometry"] == "/localization/kinematic_state"
    for name in ("camera_topics", "image_topic", "odometry_frame"):
        assert recorder.parameters[name] == nodes["bev_student"].parameters[name]


def test_teacher_and_recording_must_be_given_only_where_they_are_used():
    values = {
        option.argument: option.to_text(option.default) for part in BEV_STUDENT_ARGUMENTS for option in part.options
    }

    def built(**given: str):
        texts = {**values, **given}
        return bev_student_graph(*from_texts(BEV_STUDENT_ARGUMENTS, texts.__getitem__, "launch argument"))

    assert [node.name for node in built().nodes] == ["bev_student"]
    with pytest.raises(ConfigError, match="continual needs teacher"):
        built(continual="true", recording="kept")
    with pytest.raises(ConfigError, match="continual needs recording"):
        built(continual="true", teacher="t.onnx")
    whole = built(
        continual="true", teacher="t.onnx", recording="kept", recording_mb="50", teacher_rate="2", engine_cache="built"
    )
    parameters = {node.name: node.parameters for node in whole.nodes}
    assert parameters["hard_sample_recorder"]["budget_mb"] == 50 and parameters["lidar_teacher"]["rate_hz"] == 2.0
    assert parameters["bev_student"]["engine_cache"] == parameters["lidar_teacher"]["engine_cache"] == "built"


def test_the_detector_outlives_its_teacher_and_recorder():
    def process(name: str, exit_code: int | None):
        return SimpleNamespace(name=name, exit_code=exit_code, last_words=lambda: "out of memory")

    said = []
    ended = [process("bev_student", None), process("hard_sample_recorder", -9), process("lidar_teacher", 1)]
    processes = GraphProcesses(graph(), ended, said.append)
    with pytest.raises(GraphError, match="hard_sample_recorder ended with status -9"):
        processes.finished()  # while the graph is brought up, whoever fails is told
    processes.active = True
    assert not processes.finished() and not processes.finished()
    assert len(said) == 2 and said[0].endswith("out of memory; the other nodes go on without it")
    ended[0].exit_code = 1
    with pytest.raises(GraphError, match="bev_student ended with status 1"):
        processes.finished()
