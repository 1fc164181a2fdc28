"""The temporal student: without memory it is the single-frame student, and its velocity is right for any interval."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.students import SMALL_SIZES

from kd_perception.engines.onnxruntime import OnnxRuntimeEngine
from kd_perception.engines.openvino import OpenVinoEngine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import DataError
from kd_perception.runtime.bev_memory import warp_table
from kd_perception.student.spec import MemorySpec, load_student
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.config.sections import ModelConfig, TemporalConfig, ViewConfig
from kd_training.models.memory import MemoryFusion, MotionHead
from kd_training.models.students import build_student
from kd_training.models.students.bevdet import BevDet
from kd_training.models.students.bevdet4d import BevDet4d

NARROW = {
    **SMALL_SIZES, "neck_channels": 16, "context_channels": 16, "bev_channels": 16, "bev_blocks": 1,
    "head_shared": 16, "head_hidden": 16, "view": ViewConfig(heights=[0.5]),
}  # fmt: skip


def students() -> tuple[BevDet, BevDet4d]:
    """A single-frame student and the temporal one that begins with its weights."""
    torch.manual_seed(0)
    single = build_student(ModelConfig(name="test", **NARROW)).eval()
    temporal = build_student(ModelConfig(name="test", temporal=TemporalConfig(frames=2), **NARROW)).eval()
    temporal.load_state_dict(single.state_dict(), strict=False)
    return single, temporal


def shake(model: BevDet4d) -> None:
    """Give the memory's parts weights as if trained."""
    for module in (model.fusion, model.motion):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.1)


def memory_inputs(model: BevDet4d, valid: float, interval: float = 0.5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    grid = model.spec.grid
    memory = torch.rand(model.spec.memory.channels, *grid.shape, generator=generator)
    warp = torch.from_numpy(warp_table(grid, torch.eye(4).double().numpy()))
    return [memory, warp, torch.tensor([valid]), torch.tensor([interval])]


@torch.inference_mode()
def test_it_begins_as_the_single_frame_student_and_without_memory_stays_it():
    single, temporal = students()
    inputs = list(example_inputs(single, 6).tensors())
    expected = single(*inputs)
    for valid in (0.0, 1.0):
        got = temporal(*inputs, *memory_inputs(temporal, valid))
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=False))
    shake(temporal)
    empty = temporal(*inputs, *memory_inputs(temporal, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(expected, empty, strict=False))
    used = temporal(*inputs, *memory_inputs(temporal, 1.0))
    assert not torch.allclose(expected[0], used[0]) and not torch.allclose(expected[1], used[1])
    assert torch.equal(empty[2], used[2])  # what is kept is of this frame alone: errors do not build up


@torch.inference_mode()
def test_comparing_in_two_convolutions_is_comparing_the_concatenation():
    torch.manual_seed(0)
    fusion = MemoryFusion(8).eval()
    current, remembered = torch.rand(2, 8, 6, 6), torch.rand(2, 10, 6, 6)
    whole = fusion.compare(torch.cat([current, remembered], dim=1))
    torch.testing.assert_close(fusion._compared(current, remembered), whole)


@torch.inference_mode()
def test_the_same_displacement_in_half_the_time_is_twice_the_speed():
    torch.manual_seed(0)
    head = MotionHead(8, 8).eval()
    torch.nn.init.normal_(head.displacement.weight)
    bev, valid = torch.rand(2, 8, 6, 6), torch.tensor([1.0, 0.0])
    slow, fast = head(bev, valid, torch.tensor([1.0, 1.0])), head(bev, valid, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(fast, 2.0 * slow)
    assert slow[0].abs().max() > 0 and not slow[1].any()


def test_it_starts_from_single_frame_weights_but_not_from_partly_covered_ones(tmp_path):
    single, temporal = students()
    path = tmp_path / "single.safetensors"
    save_file({name: value.contiguous() for name, value in single.state_dict().items()}, path)
    load_weights(temporal, path, may_lack=temporal.added_modules)
    with pytest.raises(DataError, match=r"lacks fusion"):
        load_weights(temporal, path)
    some = {name: value for name, value in temporal.state_dict().items() if not name.startswith("motion.hidden")}
    save_file({name: value.contiguous() for name, value in some.items()}, path)
    with pytest.raises(DataError, match=r"lacks motion\.hidden"):
        load_weights(temporal, path, may_lack=temporal.added_modules)
    with pytest.raises(DataError, match="has the unknown fusion"):
        load_weights(single, path, may_lack=single.added_modules)


def test_a_step_moves_the_memorys_weights_although_they_begin_at_zero():
    _, temporal = students()
    *inputs, memory, warp, valid, interval = *example_inputs(temporal, 6).tensors()[:5], *memory_inputs(temporal, 1.0)
    _, regression, _ = temporal(*inputs, memory, warp, valid, interval)
    regression.sum().backward()
    assert temporal.motion.displacement.weight.grad.abs().sum() > 0
    assert temporal.fusion.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("engine", [OnnxRuntimeEngine, OpenVinoEngine])
def test_the_file_gives_what_torch_gives_and_says_what_it_remembers(engine, tmp_path):
    _, temporal = students()
    shake(temporal)
    spec = export_student(temporal, tmp_path / "student.onnx", {}, {}, {})
    student = load_student(tmp_path / "student.onnx")
    assert student.spec == spec and student.spec.temporal_frames == 2
    assert student.spec.memory == MemorySpec(channels=16, interval_s=0.5, shortest_s=0.1, longest_s=1.0)
    example = example_inputs(temporal, 4)
    inputs = dict(zip(example.names, example.arrays, strict=True))
    got = engine(student, 4, EngineOptions(threads=1)).run(inputs)
    with torch.inference_mode():
        expected = temporal(*example.tensors())
    assert set(got) == {"heatmap", "regression", "bev_feature"}
    for name, reference in zip(spec.outputs, expected, strict=True):
        np.testing.assert_allclose(got[name], reference.numpy(), atol=1e-3, rtol=1e-3)
