"""A student taught by a finer one, and by a LiDAR teacher as well: gradients, states, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import cross_scale_run, distilled_run, student_run, write_fine_student, write_teacher

from kd_perception.errors import ConfigError
from kd_training.batches.processes import ALONE
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state
from kd_training.config.experiment import to_yaml
from kd_training.loop.train import train
from kd_training.loop.train_teacher_first import absent_teachers
from kd_training.tasks import build_task
from kd_training.tasks.camera_lesson import valid_of_rigs
from kd_training.tasks.task import MicroStep


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def without_lidar(tmp_path_factory) -> Path:
    """The same without a cloud: a camera teacher needs none."""
    root = write_dataset(tmp_path_factory.mktemp("cameras"))
    for cloud in root.glob("*/LIDAR*/*"):
        cloud.unlink()
    return root


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    return write_fine_student(tmp_path_factory.mktemp("fine") / "fine.safetensors")


def camera_run(data: Path, fine: Path, steps: int = 2):
    """Without depth labels, which would need clouds."""
    config = cross_scale_run(data, fine, steps)
    config.loss.depth, config.distill.blending.refresh = 0.0, 1
    return config


def test_gradients_of_every_term_reach_the_student_and_its_adapters_alone(without_lidar, fine):
    config = camera_run(without_lidar, fine)
    task = build_task(config)
    task.begin(fine)
    assert all(torch.equal(value, load_file(fine)[name]) for name, value in task.model.state_dict().items())
    before = {name: value.clone() for name, value in task.camera_lesson.teacher.model.state_dict().items()}
    task.train()
    batch = task.batches(RunPlan(steps=1))[0]
    assert batch.points is None and batch.finer.cameras.images.shape[1:3] == (128, 192)
    now = MicroStep(0, 0, ALONE)
    losses = task(batch, now)
    assert tuple(losses.terms) == task.term_names and "camera/pyramid/8" in task.term_names
    for name, value in losses.terms.items():
        found = torch.autograd.grad(value, task.shared_layers, retain_graph=True)
        assert torch.isfinite(value) and any(part.abs().sum() > 0 for part in found), name
    task.total(losses, now).backward()
    assert all(weight > 0 for weight in task.blending.weights.terms.values())
    assert all(value.grad is not None for value in task.adapters.parameters())
    teacher = task.camera_lesson.teacher.model
    assert not teacher.training and all(value.grad is None for value in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not {id(value) for value in task.parameters()} & {id(value) for value in teacher.parameters()}


def test_two_teachers_are_blended_and_an_interrupted_run_goes_on_bit_by_bit(data, fine, tmp_path, monkeypatch):
    lidar = write_teacher(tmp_path / "lidar.safetensors")
    config = replace(distilled_run(data, lidar, steps=2), cross_scale=cross_scale_run(data, fine).cross_scale)
    assert train(config, tmp_path / "straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 0)
        assert not train(config, tmp_path / "stopped")
    assert train(config, tmp_path / "stopped", resume=True)
    first, second = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("straight", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    task, state = build_task(config), load_state(tmp_path / "stopped", config)
    assert {name.split("/")[0] for name in task.term_names} == {"feature", "attention", "camera"}
    assert set(state["task"]) == {"blending", "teacher", "labels", "camera"}
    task.camera_lesson.teacher.digest = "another"
    with pytest.raises(ConfigError, match=r"cross_scale.teacher \S+fine.safetensors has other weights than when"):
        task.set_extra_state(state["task"])
    assert first.keys() == load_file(fine).keys(), "adapters do not ship"


def test_a_student_with_memory_has_a_teacher_with_memory(data, tmp_path):
    fine = write_fine_student(tmp_path / "fine.safetensors", frames=2, image_height=96, image_width=144)
    config = cross_scale_run(data, fine, steps=1, frames=2)
    assert train(config, tmp_path / "out")
    assert build_task(config).term_names[:2] == ("camera/pyramid/8", "camera/pyramid/16")  # ratio 1.5


def test_cameras_of_replayed_rigs_and_rigs_alone_do_not_count(without_lidar, fine):
    """Two rigs, of which the second is replayed: as if its cameras were masked, and its cells were not there."""
    valid = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])  # two cameras and three, one of them masked
    assert valid_of_rigs(valid, (1, 3), [1]).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert valid_of_rigs(valid, (1, 3), [0]).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    task = build_task(camera_run(without_lidar, fine))
    batch = task.batches(RunPlan(steps=1))[0]
    now = MicroStep(0, 0, ALONE)
    with torch.no_grad():
        outputs = task.model.eval().train_forward(batch.inputs)
        both = task.losses_of(outputs, batch, now).terms
        task.replayed = frozenset([batch.shown[1].key])
        first = task.losses_of(outputs, batch, now).terms
        task.replayed = frozenset(shown.key for shown in batch.shown)
        nothing = task.losses_of(outputs, batch, now).terms
    assert first.keys() == both.keys() == nothing.keys() and not any(map(float, nothing.values()))
    assert all(torch.isfinite(first[name]) and first[name] != both[name] for name in both)


def test_what_is_no_camera_teacher_is_named(data, fine, tmp_path):
    lidar = write_teacher(tmp_path / "lidar.safetensors")
    small = write_fine_student(tmp_path / "small.safetensors", image_height=32, image_width=48)
    cases = {
        r"cross_scale.teacher is \S+absent.safetensors, but the weights": tmp_path / "absent.safetensors",
        r"is a teacher's \(tiny_teacher\); give a student's": lidar,
        "tiny_fine .32x48 pixels. sees fewer pixels than its student": small,
    }
    for message, path in cases.items():
        with pytest.raises(ConfigError, match=message):
            build_task(cross_scale_run(data, path))


def test_an_absent_teacher_is_trained_by_its_own_recipe(tmp_path):
    recipe = tmp_path / "fine.yaml"
    recipe.write_text(to_yaml(student_run(tmp_path)))
    config = cross_scale_run(tmp_path, tmp_path / "fine.safetensors")
    assert absent_teachers(config, []) == []
    config.cross_scale.teacher_recipe = str(recipe)
    ((target, settings),) = absent_teachers(config, ["data.root=/far", "schedule.steps=9", "model.backbone_weights=w"])
    assert target == tmp_path / "fine.safetensors"
    assert (settings.data.root, settings.schedule.steps, settings.model.backbone_weights) == ("/far", 4, "w")
    assert settings.data.roots[0].version == VERSION
