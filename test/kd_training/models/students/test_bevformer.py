"""BEVFormer: what a camera shows arrives where it stands, a missing one has no influence, memory is recurrent and can
be emptied, and the file gives what PyTorch gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import VERSION, write_dataset
from support.students import SHIPPED_SIZES, narrow_student, shake
from support.tiny_runs import distilled_run, write_teacher
from support.training_data import no_augmentation

from kd_perception.engines.onnxruntime import OnnxRuntimeEngine
from kd_perception.engines.openvino import OpenVinoEngine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import ConfigError, StudentError
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.runtime.bev_memory import warp_table
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.spec import load_student
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.checkpoints.models import load_model
from kd_training.config.sections import DataRoot, ModelConfig, QueryAttentionConfig, TemporalConfig, ViewConfig
from kd_training.data.batches import Batch, collate
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.samples import SampleReader
from kd_training.loop.train import train
from kd_training.models.bev_queries import BevQueries, EarlierMap
from kd_training.models.students import build_student
from kd_training.models.students.bevformer import BevFormer


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    root = write_dataset(tmp_path_factory.mktemp("painted"), samples=3, sweeps=False)
    return open_frames([DataRoot(root=str(root), version=VERSION)])[:3]


@pytest.fixture(scope="module")
def model() -> BevFormer:
    return shake(narrow_student("bevformer"))


def batch_of(model: BevFormer, frames: tuple[TrainingFrame, ...], *, earlier: int) -> Batch:
    """The last of a scene's frames, with so many before it, the latest first."""
    moments = [frame.frame for frame in reversed(frames[:-1])][:earlier]
    augmentation = no_augmentation(model.spec, len(frames[-1].cameras))
    return collate([SampleReader(model.spec).read(frames[-1], augmentation, moments)], model.spec)


def indifferent(view: BevQueries) -> BevQueries:
    """Queries that are alike everywhere and do not look at each other: a cell's value is what cameras show of it."""
    for parameter in (view.queries, view.rows, view.columns):
        parameter.data[:] = 0.1
    for layer in view.layers:
        torch.nn.init.zeros_(layer.temporal.output.weight)
    return view


def seen_by(model: BevFormer, rig: list[Camera], levels: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The map (C, rows, columns) of a rig whose cameras show `levels`, without memory."""
    tables = geometry_inputs(model.spec, rig, [np.eye(3)] * len(rig))
    grid = model.spec.grid.shape
    nothing = EarlierMap(
        torch.zeros(1, *model.spec.memory_shape), torch.zeros(1, *grid, 2), torch.zeros(1), torch.ones(1)
    )
    order = [torch.from_numpy(tables[name]) for name in model.view.table_names]
    return model.view(levels, torch.ones(len(rig)), order, nothing)[0]


@torch.inference_mode()
def test_turning_the_rig_turns_the_map_and_moving_it_moves_the_map():
    """The pictures stay the same: by a quarter turn exactly, and by one cell."""
    model = shake(narrow_student("bevformer", **SHIPPED_SIZES))
    indifferent(model.view)
    generator = torch.Generator().manual_seed(0)
    levels = tuple(torch.rand(4, 16, *size, generator=generator) for size in ((16, 44), (8, 22)))
    height, width = model.spec.image_size
    rig = ring_rig(4, width, height)  # its cameras do not overlap: no ties between sources
    turn = make_transform(quaternion_from_yaw(np.pi / 2.0), np.zeros(3))
    shift = make_transform(np.eye(3), np.array([model.spec.memory_grid.cell_size, 0.0, 0.0]))
    plain = seen_by(model, rig, levels)
    moved = {
        name: seen_by(model, [replace(camera, ego_from_camera=by @ camera.ego_from_camera) for camera in rig], levels)
        for name, by in (("turned", turn), ("shifted", shift))
    }
    # Borders between cameras go to one or the other by rounding.
    close = torch.isclose(moved["turned"], torch.rot90(plain, 1, (2, 1)), atol=1e-3).all(dim=0)
    assert close.float().mean() > 0.98 and not torch.allclose(moved["turned"], plain, atol=1e-2)
    close = torch.isclose(moved["shifted"][:, :, 1:], plain[:, :, :-1], atol=1e-3).all(dim=0)
    assert close.float().mean() > 0.98


@torch.inference_mode()
def test_a_missing_camera_has_no_influence(model):
    """Whatever its picture, and as if nothing were seen by it."""
    example = dict(zip(model.input_names, example_inputs(model, 6).tensors(), strict=True))
    example["camera_valid"][2] = 0.0
    first = model(*example.values())
    black = {**example, "images": example["images"].clone()}
    black["images"][2] = 0
    for one, other in zip(first, model(*black.values()), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0.0)
    unseen = {**example, "camera_valid": torch.ones(6)}
    unseen["reference_seen"] = example["reference_seen"] * (example["reference_camera"] != 2)
    for one, other in zip(first, model(*unseen.values()), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0.0)
    everything = model(*{**example, "camera_valid": torch.ones(6)}.values())
    assert not torch.allclose(first[0], everything[0], atol=1e-3)


@torch.inference_mode()
def test_without_a_valid_memory_nothing_of_it_is_left_and_with_one_it_is_kept(model):
    example = dict(zip(model.input_names, example_inputs(model, 4).tensors(), strict=True))
    other = {**example, "bev_memory": example["bev_memory"].flip(1)}
    used = [model(*inputs.values()) for inputs in (example, other)]
    assert not torch.allclose(used[0][0], used[1][0], atol=1e-3)
    assert not torch.allclose(used[0][2], used[1][2], atol=1e-3)  # recurrent: what is kept has a past of its own
    empty = [model(*{**inputs, "memory_valid": torch.zeros(1)}.values()) for inputs in (example, other)]
    for one, another in zip(*empty, strict=True):
        assert torch.equal(one, another)


def test_the_memory_is_warped_on_its_own_cells(model):
    """The middle of a query's cells lies where the warp of a grid of such cells has it."""
    motion = make_transform(quaternion_from_yaw(0.3), np.array([3.0, -1.0, 0.0]))
    rows, columns = model.spec.memory_grid.shape
    own = torch.from_numpy(warp_table(model.spec.memory_grid, motion))[None]
    memory = torch.rand(1, 8, rows, columns, generator=torch.Generator().manual_seed(0))
    warp = torch.from_numpy(warp_table(model.spec.grid, motion))[None]
    got = model.view._aligned(EarlierMap(memory, warp, torch.ones(1), torch.ones(1)))
    expected = torch.nn.functional.grid_sample(memory, own, align_corners=False)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_frame_remembers_what_the_frames_before_it_remembered(model, frames):
    """Training goes through the sequence as the robot does: frame by frame, each with the map of the one before."""
    batch = batch_of(model, frames, earlier=2)
    trained = model.train_forward(batch.inputs)
    feature, moments = torch.zeros(model.spec.memory_shape), []
    inputs = batch.inputs
    while inputs is not None:
        moments.append(inputs)
        inputs = inputs.previous
    assert len(moments) == 3
    for place in reversed(range(3)):
        now, before = moments[place], moments[place].previous
        tables = [now.terms[name][0] for name in model.view.table_names]
        warp = torch.zeros(*model.spec.grid.shape, 2) if before is None else before.warp[0]
        age = (torch.zeros(1), torch.full((1,), 0.5)) if before is None else (before.valid, before.interval)
        heatmap, _, feature = model(now.cameras.images, now.cameras.camera_valid, *tables, feature, warp, *age)
    torch.testing.assert_close(heatmap, torch.sigmoid(trained.heatmap[0]), atol=1e-4, rtol=1e-4)
    shorter = model.train_forward(batch_of(model, frames, earlier=1).inputs)
    assert not torch.allclose(shorter.heatmap, trained.heatmap, atol=1e-3)


def test_every_parameter_learns(frames):
    model = shake(narrow_student("bevformer")).train()
    outputs = model.train_forward(batch_of(model, frames, earlier=1).inputs)
    (outputs.heatmap.square().mean() + outputs.regression.square().mean()).backward()
    still = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert still == []


def test_the_file_gives_what_torch_gives_for_rigs_of_four_and_eight(model, tmp_path):
    spec = export_student(model, tmp_path / "student.onnx", {}, {}, {})
    student = load_student(tmp_path / "student.onnx")
    assert student.spec == spec and student.spec.memory_shape == (8, 8, 8)
    for engine, cameras in ((OnnxRuntimeEngine, 4), (OpenVinoEngine, 8)):
        example = example_inputs(model, cameras)
        got = engine(student, cameras, EngineOptions(threads=1)).run(
            dict(zip(example.names, example.arrays, strict=True))
        )
        with torch.inference_mode():
            expected = model(*example.tensors())
        for name, reference in zip(spec.outputs, expected, strict=True):
            np.testing.assert_allclose(got[name], reference.numpy(), atol=1e-3, rtol=1e-3)


def test_it_trains_with_a_teacher_and_goes_on_from_where_it_was_stopped(tmp_path, monkeypatch):
    """With the layers and terms of the other students; sequences of three frames."""
    data = write_dataset(tmp_path / "data")
    config = distilled_run(data, write_teacher(tmp_path / "teacher.safetensors"), steps=3, frames=3)
    config.model.view = ViewConfig(kind="attention", heights=[0.5, 1.5])
    config.model.attention = QueryAttentionConfig(layers=1, heads=2)
    with pytest.raises(ConfigError, match=r"tiny_student has no depth network.*set loss\.depth=0"):
        train(config, tmp_path / "refused")
    config.loss.depth = 0.0
    assert train(config, tmp_path / "straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert not train(config, tmp_path / "resumed")
    assert train(config, tmp_path / "resumed", resume=True)
    weights = [load_file(tmp_path / name / WEIGHTS_FILE) for name in ("straight", "resumed")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    spec = export_student(load_model(tmp_path / "straight" / WEIGHTS_FILE), tmp_path / "student.onnx", {}, {}, {})
    assert (spec.view.kind, spec.temporal_frames, spec.memory_shape) == ("attention", 2, (8, 16, 16))


@pytest.mark.parametrize(
    ("frame_count", "stride", "sentence"),
    [(1, 2, r"'attention' looks at an earlier frame, but it has no memory; give model\.temporal\.frames=2"),
     (2, 3, r"\(128, 128\) cells of the grid are no multiple of its memory's stride 3"),
     (2, 0, "no multiple of its memory's stride 0")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(frame_count, stride, sentence):
    config = ModelConfig(
        name="test", view=ViewConfig(kind="attention"), temporal=TemporalConfig(frames=frame_count),
        attention=QueryAttentionConfig(query_stride=stride),
    )  # fmt: skip
    with pytest.raises(StudentError, match=sentence):
        build_student(config)
