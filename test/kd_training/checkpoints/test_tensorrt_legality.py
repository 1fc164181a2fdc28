"""TensorRT reads the student files and builds engines for GPUs: TensorRT-RTX parses and compiles without having one.

Its parser accepts what TensorRT's does (no plugins), so a file that passes here runs on a robot's GPU as it is.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from support.checkout import ROOT
from support.tensorrt_build import Report, tensorrt_report

from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, SHIPPED_STUDENT, resource
from kd_perception.student.spec import load_student
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import load_config
from kd_training.models.students import build_student
from kd_training.models.students.bevdet import BevDet

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX has wheels for x86_64 only"
)

CAMERAS = 6
GENERATIONS = ("SM86", "SM89")  # Ampere and Ada
FEW_CAMERAS = ["model.cameras=2"]  # for the comparison with PyTorch, which takes long; engines are built for CAMERAS
# Configuration, overrides, generations to build for: building takes long, and each part is built for each once.
STUDENTS = {
    "demo": ("bevdet_demo.yaml", [], ()),  # as the shipped one
    "demo with splat": ("bevdet_demo.yaml", ["model.view.kind=splat"], GENERATIONS),
    "temporal demo": ("bevdet4d_demo.yaml", [], ()),  # as the shipped one
    "camera-aware demo": ("bevdepth_demo.yaml", [], GENERATIONS),
    "R50": ("bevdet_r50.yaml", FEW_CAMERAS, GENERATIONS[:1]),
    "temporal R50": ("bevdet4d_r50.yaml", FEW_CAMERAS, ()),  # R50, and the memory of the shipped one
    "BEVFormer demo": ("bevformer_demo.yaml", FEW_CAMERAS, GENERATIONS[:1]),
    "camera-aware R50": ("bevdepth_r50.yaml", FEW_CAMERAS, GENERATIONS[1:]),
}
SLOW = ("camera-aware R50",)


def untrained(config: str, overrides: list[str]) -> BevDet:
    torch.manual_seed(0)
    return build_student(load_config(ROOT / "config" / "training" / config, overrides).model).eval()


def built(path: Path, model: BevDet, generations: Sequence[str] = GENERATIONS) -> Report:
    """TensorRT's report on a student file for a rig of CAMERAS, with engines for these generations."""
    example = example_inputs(model, CAMERAS)
    shapes = {name: array.shape for name, array in zip(example.names, example.arrays, strict=True)}
    return tensorrt_report(path, shapes, generations)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in STUDENTS])
def test_exported_students_build_for_ampere_and_ada(tmp_path: Path, name: str):
    config, overrides, generations = STUDENTS[name]
    model = untrained(config, overrides)
    path = tmp_path / "student.onnx"
    export_student(model, path, {}, {}, {})
    report = built(path, model, generations)
    assert report.complaints == []
    assert set(report.inputs) == set(example_inputs(model, CAMERAS).names)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    for generation in generations:
        assert report.engine_bytes[generation] > 0.9 * weights, report.errors


@pytest.mark.parametrize("student", [SHIPPED_STUDENT, SHIPPED_SINGLE_FRAME_STUDENT])
def test_the_shipped_students_build(student: str):
    path = resource(student)
    model = load_model(path.with_suffix(".safetensors"))
    assert load_student(path).spec.name == model.spec.name == path.stem
    report = built(path, model)
    assert report.complaints == []
    assert all(report.engine_bytes[generation] for generation in GENERATIONS), report.errors


def test_what_tensorrt_refuses_is_noticed(tmp_path: Path):
    """The check itself: a scatter with addition, which lift-splat would need, does not pass."""
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in ("x", "updates", "y")]
    index = helper.make_tensor_value_info("index", TensorProto.INT64, [8, 1])
    node = helper.make_node("ScatterND", ["x", "index", "updates"], ["y"], reduction="add")
    graph = helper.make_graph([node], "scatter", [floats[0], index, floats[1]], [floats[2]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "s.onnx")
    report = tensorrt_report(tmp_path / "s.onnx", {"x": [8], "index": [8, 1], "updates": [8]}, ["SM86"])
    assert report.complaints or not report.engine_bytes["SM86"]
