"""What every student promises: it begins as the simpler one it adds to, names its features, and has shared layers that
every loss on features reaches; its training form is its file form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.nuscenes_tables import VERSION, write_dataset
from support.students import KINDS, narrow_student, shake
from support.training_data import batch_as_it_is

from kd_perception.errors import DataError
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.student.spec import Student
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.checkpoints.export import example_inputs
from kd_training.config.sections import DataRoot
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.evaluation.model_engine import ModelEngine
from kd_training.models.students.bevdepth import BevDepth, BevDepth4d
from kd_training.models.students.bevdet import BevDet
from kd_training.models.students.bevdet4d import BevDet4d
from kd_training.models.students.bevformer import BevFormer
from kd_training.models.students.camera_student import CameraStudent

CLASSES = {
    "bevdet": BevDet, "bevdet4d": BevDet4d, "bevdepth": BevDepth, "bevdepth4d": BevDepth4d, "bevformer": BevFormer,
}  # fmt: skip


def write_weights(model: CameraStudent, path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> TrainingFrame:
    root = write_dataset(tmp_path_factory.mktemp("painted"), samples=1, sweeps=False)
    return open_frames([DataRoot(root=str(root), version=VERSION)])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_names_its_narrow_student(kind):
    assert type(narrow_student(kind)) is CLASSES[kind]


@pytest.mark.parametrize(
    ("simple", "full"),
    [("bevdet", "bevdet4d"), ("bevdet", "bevdepth"), ("bevdet", "bevdepth4d"), ("bevdet4d", "bevdepth4d"),
     ("bevdepth", "bevdepth4d")],
)  # fmt: skip
@torch.inference_mode()
def test_it_begins_as_the_simpler_student(simple, full, tmp_path):
    first, second = shake(narrow_student(simple)), narrow_student(full)
    load_weights(second, write_weights(first, tmp_path / "simple.safetensors"), may_lack=second.added_modules)
    inputs = dict(zip(second.input_names, example_inputs(second, 3).tensors(), strict=True))
    expected = first(*(inputs[name] for name in first.input_names))
    got = second(*inputs.values())
    for one, other in zip(expected, got, strict=False):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


def test_each_group_of_added_modules_may_be_absent_as_a_whole_only(tmp_path):
    model = narrow_student("bevdepth4d")
    some = {name: value for name, value in model.state_dict().items() if not name.startswith("depth_context.camera.")}
    save_file(some, tmp_path / "some.safetensors")
    with pytest.raises(DataError, match=r"lacks depth_context\.camera\.hidden"):
        load_weights(model, tmp_path / "some.safetensors", may_lack=model.added_modules)
    aware = write_weights(narrow_student("bevdepth"), tmp_path / "aware.safetensors")
    with pytest.raises(DataError, match=r"has the unknown depth_context\.camera"):
        load_weights(narrow_student("bevdet"), aware, may_lack=BevDet.added_modules)


@pytest.mark.parametrize("kind", KINDS)
def test_features_have_the_channels_that_are_named_and_all_reach_the_shared_layers(kind, frame):
    model = shake(narrow_student(kind))
    outputs = model.train_forward(batch_as_it_is(model.spec, frame).inputs)
    assert {name: value.shape[1] for name, value in outputs.features.items()} == model.feature_channels
    shared_layers = model.shared_layers()
    for loss in (outputs.heatmap, outputs.regression, *outputs.features.values()):
        gradients = torch.autograd.grad(loss.square().sum(), shared_layers, retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_training_sees_what_the_pipeline_sees(kind, frame):
    """One frame through the training form, and as images and calibration through the pipeline with the file form."""
    model = shake(narrow_student(kind))
    trained = model.train_forward(batch_as_it_is(model.spec, frame).inputs)
    pipeline = Pipeline(Student(Path("no file"), model.spec, ""), ModelEngine(model), len(frame.cameras))
    pipeline.set_rig(frame.cameras)
    record = FrameRecord(images=[image.path.read_bytes() for image in frame.frame.images])
    pipeline.prepare(record)
    inputs = dict(record.inputs)
    pipeline.close()
    if model.spec.memory is not None:
        inputs |= pipeline._memory.recall(0, None).inputs
    outputs = ModelEngine(model).run(inputs)
    np.testing.assert_allclose(outputs["heatmap"], torch.sigmoid(trained.heatmap[0]), atol=1e-4)
    np.testing.assert_allclose(outputs["regression"], trained.regression[0], atol=1e-3)
