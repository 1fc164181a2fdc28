"""TensorRT reads the student files and builds engines for GPUs: TensorRT-RTX parses and compiles without having one.

Its parser accepts what TensorRT's does (no plugins), so a file that passes here runs on a robot's GPU as it is.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from kd_perception.student import load_student
from kd_training.config import load_config
from kd_training.export import ExampleInputs, example_inputs, export_student
from kd_training.students.bevdet import BevDet

trt = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has wheels for x86_64 only")

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = 6
STUDENTS = {
    "demo": ("bevdet_demo.yaml", []),
    "demo with splat": ("bevdet_demo.yaml", ["model.view.kind=splat"]),
    "R50": ("bevdet_r50.yaml", []),
}


class Log(trt.ILogger):
    """Collects errors; TensorRT keeps the first logger it meets, so there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity <= trt.ILogger.Severity.ERROR:
            self.errors.append(message)


LOG = Log()


def parse(path: Path) -> tuple[trt.Builder, trt.INetworkDefinition, list[str]]:
    """The file as a strongly typed network, and the parser's complaints (none when it is legal)."""
    builder = trt.Builder(LOG)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOG)
    parser.parse_from_file(str(path))
    return builder, network, [parser.get_error(i).desc() for i in range(parser.num_errors)]


def build(builder: trt.Builder, network: trt.INetworkDefinition, example: ExampleInputs, capability: str) -> bytes:
    """A serialised engine for one GPU generation, its dynamic dimensions fixed to the example's."""
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    profile = builder.create_optimization_profile()
    for name, array in zip(example.names, example.arrays, strict=True):
        profile.set_shape(name, array.shape, array.shape, array.shape)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None, f"no engine for {capability}: {LOG.errors[-1:]}"
    return bytes(engine)


def untrained(config: str, overrides: list[str]) -> BevDet:
    torch.manual_seed(0)
    return BevDet(load_config(ROOT / "config" / "training" / config, overrides).model).eval()


@pytest.mark.parametrize("name", list(STUDENTS))
def test_exported_students_build_for_ampere_and_ada(tmp_path: Path, name: str):
    model = untrained(*STUDENTS[name])
    path = tmp_path / "student.onnx"
    export_student(model, path, {}, {}, {})
    builder, network, complaints = parse(path)
    assert complaints == []
    assert {network.get_input(i).name for i in range(network.num_inputs)} == set(example_inputs(model, CAMERAS).names)
    for capability in ("SM86", "SM89"):
        engine = build(builder, network, example_inputs(model, CAMERAS), capability)
        assert len(engine) > 0.9 * sum(weight.numel() * weight.element_size() for weight in model.parameters())


def test_the_shipped_student_builds():
    path = ROOT / "models" / "bevdet_demo.onnx"
    if not path.is_file():
        pytest.skip("no trained student is in models/")
    assert load_student(path).spec.name == "bevdet_demo"
    builder, network, complaints = parse(path)
    assert complaints == []
    model = untrained("bevdet_demo.yaml", [f"model.view.kind={load_student(path).spec.view.kind}"])
    for capability in ("SM86", "SM89"):
        assert build(builder, network, example_inputs(model, CAMERAS), capability)


def test_what_tensorrt_refuses_is_noticed(tmp_path: Path):
    """The check itself: a scatter with addition, which lift-splat would need, does not pass."""
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in ("x", "updates", "y")]
    index = helper.make_tensor_value_info("index", TensorProto.INT64, [8, 1])
    node = helper.make_node("ScatterND", ["x", "index", "updates"], ["y"], reduction="add")
    graph = helper.make_graph([node], "scatter", [floats[0], index, floats[1]], [floats[2]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "s.onnx")
    builder, network, complaints = parse(tmp_path / "s.onnx")
    if not complaints:
        example = ExampleInputs(("x", "index", "updates"), (np.zeros(8), np.zeros((8, 1)), np.zeros(8)))
        with pytest.raises(AssertionError, match="no engine"):
            build(builder, network, example, "SM86")
