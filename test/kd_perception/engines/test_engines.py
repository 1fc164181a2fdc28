"""Engines: both run a file to the same numbers for any camera count, and refuse what does not fit in one sentence."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.fake_student import SPEC, paint, write_fake_student

from kd_perception.engines.base import Engine, engine_names, open_engine
from kd_perception.engines.openvino import shared_core
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import EngineError
from kd_perception.geometry.camera import ring_rig
from kd_perception.student.preprocess import fit_image, network_image
from kd_perception.student.spec import Student, load_student
from kd_perception.student.view_tables import build_tables

ENGINES = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student(write_fake_student(tmp_path_factory.mktemp("student") / "fake.onnx"))


def inputs_for(cameras: int) -> dict[str, np.ndarray]:
    rig = ring_rig(cameras, 704, 256, np.radians(95.0))
    images = [np.full((256, 704, 3), 60, np.uint8) for _ in rig]
    paint(images, rig, (10.5, 3.5), "car")
    affine = fit_image((256, 704), SPEC.image_size)
    prepared = np.stack([network_image(image, (256, 704), affine, SPEC.image_size) for image in images])
    return {
        "images": prepared,
        "camera_valid": np.ones(cameras, np.float32),
        **build_tables(SPEC, rig, [affine] * cameras),
    }


def with_content(student: Student, path: Path, content: bytes) -> Student:
    """Another file that claims to be a student: its hash is right."""
    path.write_bytes(content)
    return replace(student, path=path, sha256=hashlib.sha256(content).hexdigest())


def copied(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in outputs.items()}


def test_the_installed_package_offers_its_engines():
    assert set(ENGINES) <= set(engine_names())


@pytest.mark.parametrize("cameras", [4, 6, 8])
def test_engines_agree_for_any_camera_count(student: Student, cameras: int):
    inputs = inputs_for(cameras)
    first, second = (
        copied(open_engine(name, student, cameras, EngineOptions(threads=1)).run(inputs)) for name in ENGINES
    )
    assert first.keys() == second.keys() == {"heatmap", "regression"}
    assert first["heatmap"].max() > 0.5
    for name in first:
        assert first[name].dtype == np.float32
        np.testing.assert_allclose(first[name], second[name], atol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_every_call_answers_its_own_inputs(student: Student, name: str):
    """Shared buffers must not leak one frame into the next."""
    engine = open_engine(name, student, 6, EngineOptions(threads=1))
    inputs = inputs_for(6)
    bright = copied(engine.run(inputs))
    dark = copied(engine.run(inputs | {"camera_valid": np.zeros(6, np.float32)}))
    again = copied(engine.run(inputs))
    assert dark["heatmap"].max() == 0.0
    np.testing.assert_array_equal(again["heatmap"], bright["heatmap"])


@pytest.mark.parametrize("name", ENGINES)
def test_read_only_inputs_hold_until_others_come(student: Student, name: str):
    engine = open_engine(name, student, 6, EngineOptions(threads=1))
    plain, tables = inputs_for(6), inputs_for(6)
    nothing_seen = tables | {"weight": np.zeros_like(tables["weight"])}
    for array in (*tables.values(), nothing_seen["weight"]):
        array.flags.writeable = False
    expected = copied(engine.run(plain))["heatmap"]
    blind = copied(engine.run(plain | {"weight": nothing_seen["weight"].copy()}))["heatmap"]
    assert not np.allclose(blind, expected)
    for inputs, answer in ((tables, expected), (tables, expected), (nothing_seen, blind), (plain, expected)) * 2:
        np.testing.assert_array_equal(engine.run(inputs)["heatmap"], answer)


@pytest.mark.parametrize("name", ENGINES)
def test_other_shapes_and_absent_inputs_are_named(student: Student, name: str):
    engine = open_engine(name, student, 6, EngineOptions(threads=1))
    inputs = inputs_for(6)
    with pytest.raises(
        EngineError, match=f"engine {name}: input 'images' is 5x64x176x3 but the student file wants 6x64x176x3"
    ):
        engine.run(inputs | {"images": inputs["images"][:5]})
    del inputs["weight"]
    with pytest.raises(EngineError, match=f"engine {name}: the student file wants input 'weight'"):
        engine.run(inputs)


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_that_vanished_or_changed_since_it_was_loaded_is_refused(student: Student, tmp_path: Path, name: str):
    """Its metadata are no longer those that the pipeline works with."""
    path = tmp_path / "student.onnx"
    with pytest.raises(EngineError, match=r"no engine could open .*: student file .* cannot be read any more"):
        open_engine(name, replace(student, path=path), 6)
    path.write_bytes(student.path.read_bytes()[:1000])
    with pytest.raises(EngineError, match=r"no engine could open .*: student file .* changed since it was loaded"):
        open_engine(name, replace(student, path=path), 6)


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_that_is_no_model_is_refused(student: Student, tmp_path: Path, name: str):
    with pytest.raises(EngineError, match=r"no engine could open .*: .* refuses .*broken\.onnx for 6 cameras"):
        open_engine(name, with_content(student, tmp_path / "broken.onnx", student.path.read_bytes()[:1000]), 6)


@pytest.mark.parametrize("name", ENGINES)
def test_an_operator_that_nobody_knows_is_refused(student: Student, tmp_path: Path, name: str):
    model = onnx.load(student.path)
    model.graph.node[0].op_type = "Teleport"
    unknown = with_content(student, tmp_path / "unknown.onnx", model.SerializeToString())
    with pytest.raises(EngineError, match=r"unknown\.onnx"):
        open_engine(name, unknown, 6)


def test_an_unknown_engine_lists_the_known(student: Student):
    with pytest.raises(EngineError, match="engine 'abacus' is not installed; choose one of: auto, .*openvino"):
        open_engine("abacus", student, 6)


def test_auto_takes_openvino_and_falls_back(student: Student, monkeypatch: pytest.MonkeyPatch):
    assert open_engine("auto", student, 6).name == "openvino"
    monkeypatch.setitem(
        __import__("sys").modules, "kd_perception.engines.openvino", None
    )  # as if OpenVINO did not import
    engine: Engine = open_engine("auto", student, 6)
    assert engine.name == "onnxruntime"


def write_convolution(path: Path) -> Student:
    """A file with a convolution of 32 channels; who opens it needs no more of a student than its file."""
    shape, rng = [1, 32, 12, 12], np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.normal(size=(32, 32, 3, 3)).astype(np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["features", "weights"], ["made"], pads=[1, 1, 1, 1])], "convolution",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT, shape)], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return with_content(Student(path, SPEC, ""), path, model.SerializeToString())


def test_bfloat16_gives_nearly_the_same_or_says_that_the_processor_lacks_it(tmp_path: Path):
    file, one = write_convolution(tmp_path / "convolution.onnx"), EngineOptions(threads=1)
    inputs = {"features": np.random.default_rng(1).normal(size=(1, 32, 12, 12)).astype(np.float32)}
    exact = copied(open_engine("openvino", file, options=one).run(inputs))["made"]
    if "BF16" not in shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(EngineError, match="this processor has no bfloat16 .*; use engine openvino"):
            open_engine("openvino-bf16", file, options=one)
        return
    engine = open_engine("auto-bf16", file, options=one)
    error = np.abs(engine.run(inputs)["made"] - exact).max() / np.abs(exact).max()
    assert engine.name == "openvino-bf16" and 1e-5 < error < 1e-2


def test_a_processor_without_bfloat16_computes_in_float32(student: Student, monkeypatch: pytest.MonkeyPatch):
    class Older:
        """A core whose processor has no bfloat16."""

        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr("kd_perception.engines.openvino_bf16.shared_core", Older)
    with pytest.raises(EngineError, match="this processor has no bfloat16 .*; use engine openvino"):
        open_engine("openvino-bf16", student, 6)
    reports = []
    assert open_engine("auto-bf16", student, 6, EngineOptions(report=reports.append)).name == "openvino"
    assert any("openvino-bf16" in report and "no bfloat16" in report for report in reports)


DROP_ELSEWHERE = """
import faulthandler, os, signal, sys, threading
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.student.spec import load_student
faulthandler.enable()  # its handlers, like Python's own, run on the alternate signal stack
engines = [open_engine(sys.argv[1], load_student(sys.argv[2]), 6, EngineOptions(threads=1))]
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(True))
os.kill(os.getpid(), signal.SIGINT)
assert caught
"""


@pytest.mark.parametrize("name", ENGINES)
def test_ctrl_c_survives_an_engine_dropped_by_another_thread(student: Student, name: str):
    command = [sys.executable, "-c", DROP_ELSEWHERE, name, str(student.path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
