"""TensorRT reads the student files and builds engines for GPUs: TensorRT-RTX parses and compiles without having one.

Its parser accepts what TensorRT's does (no plugins), so a file that passes here runs on a robot's GPU as it is.
"""

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from support.checkout import ROOT
from support.students import narrow_student

from kd_bench.gpu.build_report import build_reports
from kd_bench.gpu.matrix import student_file
from kd_bench.in_precision import Precision
from kd_perception.engines.rig_sizes import rig_profile
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, SHIPPED_STUDENT, resource
from kd_perception.student.spec import load_student
from kd_training.checkpoints.export import check_against_torch, example_inputs
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import load_config
from kd_training.models.students import build_student

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX has wheels for x86_64 only"
)

CAMERAS = 6
GENERATIONS = ("SM86", "SM89")  # Ampere and Ada
# One student for each backbone and view transform, with every part that goes with it; `pull` stands in the second.
STUDENTS = {
    "demo with splat": ("bevdet_demo.yaml", ["model.view.kind=splat"]),
    "camera-aware temporal R50": ("bevdepth_r50.yaml", ["model.image_height=64", "model.image_width=176"]),
    "BEVFormer demo": ("bevformer_demo.yaml", []),
}


@pytest.mark.parametrize(("kind", "generation"), [("bevdepth4d", "SM89"), ("bevformer", "SM120")])
def test_every_part_builds_in_lower_precisions(tmp_path: Path, kind: str, generation: str):
    """Two small students that have all parts of the others, in what the tests below do not build; the whole matrix is
    `kd bench tensorrt`."""
    file = student_file(narrow_student(kind), tmp_path / "student.onnx")
    lower = (Precision.fp16, Precision.int8)
    for precision, report in zip(lower, file.built(lower, [generation]), strict=True):
        assert report.complaints == [] and set(report.inputs) == set(file.example.names), precision
        assert report.engine_bytes[generation] > 0, (precision, report.errors)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_students_of_configurations_build_for_ampere_and_ada(tmp_path: Path, name: str):
    config, overrides = STUDENTS[name]
    torch.manual_seed(0)
    model = build_student(load_config(ROOT / "config" / "training" / config, overrides).model).eval()
    file = student_file(model, tmp_path / "student.onnx")
    check_against_torch(model, file.path)
    [report] = build_reports([file.path], file.sizes, GENERATIONS)
    assert report.complaints == [] and set(report.inputs) == set(file.example.names)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    for generation in GENERATIONS:
        assert report.engine_bytes[generation] > 0.9 * weights, report.errors


@pytest.mark.parametrize("student", [SHIPPED_STUDENT, SHIPPED_SINGLE_FRAME_STUDENT])
def test_the_shipped_students_build(student: str):
    path = resource(student)
    model = load_model(path.with_suffix(".safetensors"))
    assert load_student(path).spec.name == model.spec.name == path.stem
    profile, names = rig_profile(model.spec, CAMERAS), example_inputs(model, CAMERAS).names
    sizes = {name: (profile.smallest[name], profile.largest[name]) for name in names if name in profile.largest}
    [report] = build_reports([path], sizes, GENERATIONS)
    assert report.complaints == []
    assert all(report.engine_bytes[generation] for generation in GENERATIONS), report.errors


def test_what_tensorrt_refuses_is_noticed(tmp_path: Path):
    """The check itself: a scatter with addition, which lift-splat would need, does not pass."""
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in ("x", "updates", "y")]
    index = helper.make_tensor_value_info("index", TensorProto.INT64, [8, 1])
    node = helper.make_node("ScatterND", ["x", "index", "updates"], ["y"], reduction="add")
    graph = helper.make_graph([node], "scatter", [floats[0], index, floats[1]], [floats[2]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "s.onnx")
    [report] = build_reports([tmp_path / "s.onnx"], {}, ["SM86"])
    assert report.complaints or not report.engine_bytes["SM86"]
