"""The camera-aware student: each camera's own parameters weight its own features; they reach it in every engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.students import narrow_student, shake

from kd_perception.engines.onnxruntime import OnnxRuntimeEngine
from kd_perception.engines.openvino import OpenVinoEngine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.transforms import make_transform
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import load_student
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.evaluation.model_engine import ModelEngine
from kd_training.models.camera_aware import CameraAwareDepth
from kd_training.models.necks import DepthContext

CHANNELS, BINS, CONTEXT = 8, 5, 3


def network() -> CameraAwareDepth:
    torch.manual_seed(0)
    return CameraAwareDepth(CHANNELS, BINS, CONTEXT, blocks=2).eval()


def trained_gates(aware: CameraAwareDepth) -> CameraAwareDepth:
    """The network with a camera part that is no longer indifferent."""
    torch.nn.init.normal_(aware.camera.gates.weight)
    return aware


@torch.inference_mode()
def test_it_begins_as_the_plain_network_whatever_the_camera():
    aware = network()
    plain = DepthContext(CHANNELS, BINS, CONTEXT).eval()
    plain.load_state_dict(aware.state_dict(), strict=False)
    features = torch.randn(3, CHANNELS, 4, 6)
    for got, expected in zip(aware(features, torch.randn(3, 30)), plain(features), strict=True):
        torch.testing.assert_close(got, expected)


@torch.inference_mode()
def test_a_cameras_parameters_change_its_own_depth_and_context_only():
    aware = trained_gates(network())
    features, params = torch.randn(3, CHANNELS, 4, 6), torch.randn(3, 30)
    changed = params.clone()
    changed[1] += 0.5
    for before, after in zip(aware(features, params), aware(features, changed), strict=True):
        assert torch.equal(before[[0, 2]], after[[0, 2]])
        assert not torch.allclose(before[1], after[1])


def test_every_part_of_it_learns():
    aware = trained_gates(network())
    aware.train()
    logits, context = aware(torch.randn(3, CHANNELS, 4, 6), torch.randn(3, 30))
    (logits.square().sum() + context.square().sum()).backward()
    still = [name for name, parameter in aware.named_parameters() if not parameter.grad.abs().sum() > 0]
    # What lies before a norm of weight zero begins to learn once that weight has moved.
    assert all(name.startswith("depth.") and ".second.1.weight" not in name for name in still)
    assert not any(name.startswith("depth.0.second.1") for name in still)


@pytest.mark.parametrize("engine", [OnnxRuntimeEngine, OpenVinoEngine])
def test_the_file_says_what_it_takes_and_gives_what_torch_gives(engine, tmp_path):
    model = shake(narrow_student("bevdepth4d"))
    spec = export_student(model, tmp_path / "student.onnx", {}, {}, {})
    opened = load_student(tmp_path / "student.onnx")
    assert opened.spec == spec and opened.spec.camera_params == 30
    example = example_inputs(model, 4)
    got = engine(opened, 4, EngineOptions(threads=1)).run(dict(zip(example.names, example.arrays, strict=True)))
    with torch.inference_mode():
        expected = model(*example.tensors())
    for name, reference in zip(spec.outputs, expected, strict=True):
        np.testing.assert_allclose(got[name], reference.numpy(), atol=1e-3, rtol=1e-3)


def test_a_moved_camera_is_told_to_the_engine(tmp_path):
    """The pipeline feeds what the calibration says, and another calibration's parameters at the next set_rig."""
    model = shake(narrow_student("bevdepth4d"))
    export_student(model, tmp_path / "student.onnx", {}, {}, {})
    rig = ring_rig(3, 704, 256)
    tipped = make_transform([1.0, 0.05, 0.0, 0.0], np.array([0.0, 0.3, 0.0]))
    moved = [rig[0], replace(rig[1], ego_from_camera=rig[1].ego_from_camera @ tipped), rig[2]]
    images = list(np.random.default_rng(0).integers(0, 256, (3, 256, 704, 3), dtype=np.uint8))
    pipeline = Pipeline(load_student(tmp_path / "student.onnx"), "onnxruntime", 3, PipelineOptions(threads=1))
    reference, answers = ModelEngine(model), []
    for cameras in (rig, moved):
        pipeline.set_rig(cameras)
        record = FrameRecord(images=images)
        pipeline.prepare(record)
        inputs = dict(record.inputs) | pipeline._memory.recall(0, None).inputs
        answers.append(pipeline.engine.run(inputs)["heatmap"])
        np.testing.assert_allclose(answers[-1], reference.run(inputs)["heatmap"], atol=1e-3)
        if cameras is moved:
            told = inputs | {"camera_params": inputs["camera_params"].copy()}
            told["camera_params"][1] = 0.0
            assert np.abs(pipeline.engine.run(told)["heatmap"] - answers[-1]).max() > 1e-3  # it does listen
    pipeline.close()
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
