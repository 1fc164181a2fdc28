"""The training loop: resume is bit-exact, weights must cover the model, a NaN names its term; and the way to a student
file.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import VERSION, write_dataset
from support.students import SMALL_SIZES
from support.tiny_runs import teacher_run

from kd_perception.commit import code_commit
from kd_perception.engines.onnxruntime import OnnxRuntimeEngine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import ConfigError, DataError, EngineError, StudentError
from kd_perception.student.spec import load_student
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE, checkpoint_config, load_state, load_weights
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.checkpoints.models import load_model
from kd_training.checkpoints.onnx_files import PLAIN_OPERATORS_ONLY
from kd_training.checkpoints.provenance import provenance_of
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import (
    AugmentConfig,
    DataConfig,
    DataRoot,
    ModelConfig,
    StudentScheduleConfig,
    TemporalConfig,
    ViewConfig,
)
from kd_training.evaluation.torch_engine import TorchEngine
from kd_training.evaluation.validation import measured_accuracy, validation_metrics
from kd_training.loop import train as train_module
from kd_training.loop.forward_backward import TrainingError
from kd_training.loop.train import kept_weights, train
from kd_training.models.students import build_student
from kd_training.models.students.bevdet import BevDet
from kd_training.tasks import student as student_task

NARROW = {
    **SMALL_SIZES,
    "neck_channels": 16,
    "context_channels": 16,
    "bev_channels": 16,
    "bev_blocks": 1,
    "head_shared": 16,
    "head_hidden": 16,
}

ONE_THREAD = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> DataRoot:
    return DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)


def make_config(painted: DataRoot, steps: int, **schedule) -> TrainConfig:
    return TrainConfig(
        model=ModelConfig(name="test", view=ViewConfig(heights=[0.5]), **NARROW),
        data=DataConfig(roots=[painted], validation=[painted], augment=AugmentConfig()),
        schedule=StudentScheduleConfig(steps=steps, batch=1, warmup_steps=2, log_steps=1, **schedule),
    )


@pytest.fixture(scope="module")
def finished(painted, tmp_path_factory) -> Path:
    """An uninterrupted run of four steps."""
    out = tmp_path_factory.mktemp("finished")
    assert train(make_config(painted, 4), out)
    return out


def test_an_interrupted_and_resumed_run_is_bit_exact(painted, finished, tmp_path, monkeypatch):
    config = make_config(painted, 4)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert not train(config, tmp_path)
    assert load_state(tmp_path, config)["step"] == 2
    assert train(config, tmp_path, resume=True)
    straight, resumed = load_state(finished, config), load_state(tmp_path, config)
    for part in ("model", "ema"):
        for name, value in straight[part].items():
            assert torch.equal(value, resumed[part][name]), name
    weights = [load_file(folder / WEIGHTS_FILE) for folder in (finished, tmp_path)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert list(finished.glob("events/**/events.out.tfevents.*"))


def test_a_temporal_student_trains_from_single_frame_weights_and_is_validated(painted, finished, tmp_path):
    config = make_config(painted, 3)
    config.model.temporal = TemporalConfig(frames=2, shortest=0.25)
    assert train(config, tmp_path, weights=finished / WEIGHTS_FILE)
    before, after = (load_file(folder / WEIGHTS_FILE) for folder in (finished, tmp_path))
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == {"fusion", "motion"}
    assert after["motion.displacement.weight"].any() and after["fusion.output.weight"].any()  # both began at zero
    ((_, metrics),) = validation_metrics(tmp_path)
    summary = json.loads((tmp_path / "metrics" / "metrics_summary.json").read_text())
    assert (summary["mean_ap"], summary["nd_score"]) == (metrics.mean_ap, metrics.nds)
    assert (summary["meta"]["use_lidar"], summary["meta"]["use_camera"]) == (False, True)
    assert metrics.classes["car"].ground_truths == 18  # three in each of two scenes' three keyframes


def test_resume_refuses_another_configuration_and_damaged_state(painted, finished, tmp_path):
    with pytest.raises(ConfigError, match="another configuration: schedule.steps was 4 and is 5"):
        load_state(finished, make_config(painted, 5))
    with pytest.raises(ConfigError, match="a run of another kind"):
        load_state(finished, teacher_run(Path("none")))
    with pytest.raises(DataError, match="no state.pt"):
        load_state(tmp_path, make_config(painted, 4))
    (tmp_path / STATE_FILE).write_bytes((finished / STATE_FILE).read_bytes()[:5000])
    with pytest.raises(DataError, match="damaged"):
        load_state(tmp_path, make_config(painted, 4))
    for foreign in ({"epoch": 3}, [1, 2]):
        torch.save(foreign, tmp_path / STATE_FILE)
        with pytest.raises(DataError, match="is no state that kd train wrote \\(it lacks step\\)"):
            load_state(tmp_path, make_config(painted, 4))


def test_weights_must_cover_the_model(finished, tmp_path):
    model = load_model(finished / WEIGHTS_FILE)
    tensors = load_file(finished / WEIGHTS_FILE)
    first = next(iter(tensors))
    cases = {
        "lacks": {name: value for name, value in tensors.items() if name != first},
        "has the unknown": {**tensors, "stranger": torch.zeros(1)},
        "has another shape for": {**tensors, first: torch.zeros(1)},
    }
    for message, given in cases.items():
        save_file(given, tmp_path / "bad.safetensors")
        with pytest.raises(DataError, match=message):
            load_weights(model, tmp_path / "bad.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((finished / WEIGHTS_FILE).read_bytes()[:1000])
    with pytest.raises(DataError, match="no readable safetensors"):
        load_weights(model, tmp_path / "cut.safetensors")


def test_resume_refuses_another_number_of_samples_a_step(painted, finished, tmp_path, monkeypatch):
    """Two processes would take twice as many; with schedule.total_batch they take the same."""
    before, started = checkpoint_config(finished / WEIGHTS_FILE), train_module.plan_run
    monkeypatch.setattr(train_module, "plan_run", lambda *args: started(*args)._replace(processes=2))
    with pytest.raises(ConfigError, match=r"a step of this run took 1 samples, and would now take 2.*total_batch=1"):
        train(before, finished, resume=True)


def test_parts_that_start_anew_ignore_the_weights(finished, tmp_path):
    given = load_file(finished / WEIGHTS_FILE)
    torch.manual_seed(3)
    model = build_student(checkpoint_config(finished / WEIGHTS_FILE).model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save_file({**given, "head.of.other.shape": torch.zeros(1)}, tmp_path / "other.safetensors")
    load_weights(model, tmp_path / "other.safetensors", reinitialised=["head"])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name.startswith("head.") else given[name]), name
    with pytest.raises(ConfigError, match="schedule.anew names 'heads', but the model's parts are .*head"):
        load_weights(model, finished / WEIGHTS_FILE, reinitialised=["heads"])


def test_parts_that_start_anew_without_weights_are_refused(painted, tmp_path):
    with pytest.raises(ConfigError, match="schedule.anew says which parts --weights does not fill"):
        train(make_config(painted, 1, anew=["head"]), tmp_path)


def test_weights_of_chosen_steps_are_kept(painted, tmp_path):
    config = make_config(painted, 3, keep_steps=[2])
    assert train(config, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        WEIGHTS_FILE,
        kept_weights(tmp_path, 2).name,
    ]
    early, last = load_file(kept_weights(tmp_path, 2)), load_file(tmp_path / WEIGHTS_FILE)
    assert early.keys() == last.keys() and any(not torch.equal(early[name], last[name]) for name in last)
    assert load_model(kept_weights(tmp_path, 2)).spec.name == "test"


def test_random_stages_are_not_frozen_unasked(painted, tmp_path):
    config = make_config(painted, 1)
    config.model.backbone = "resnet18"
    with pytest.raises(ConfigError, match="would keep random stages of resnet18 as they are"):
        train(config, tmp_path)


def test_a_nan_loss_stops_and_names_its_term(painted, tmp_path, monkeypatch):
    losses = student_task.student_losses
    monkeypatch.setattr(
        student_task, "student_losses", lambda *args: {**losses(*args), "box": torch.tensor(float("nan"))}
    )
    with pytest.raises(TrainingError, match="the box loss is nan at step 0"):
        train(make_config(painted, 2), tmp_path)


def test_missing_images_are_named(painted, tmp_path):
    root = write_dataset(tmp_path / "data")
    victim = next((root / "samples" / "CAM_BACK").iterdir())
    for image in victim.parent.iterdir():
        image.unlink()
    with pytest.raises(DataError, match="CAM_BACK.*is missing"):
        train(make_config(DataRoot(root=str(root), version=VERSION), 2), tmp_path / "out")


def test_validation_writes_the_devkits_summary(finished):
    ((_, metrics),) = validation_metrics(finished)
    accuracy = measured_accuracy(finished / "metrics" / "metrics_summary.json")
    assert accuracy["mAP"] == pytest.approx(metrics.mean_ap, abs=1e-4)
    assert set(metrics.classes) == {name.removeprefix("AP ") for name in accuracy if name.startswith("AP ")}


@pytest.mark.parametrize("kind", ["pull", "splat"])
def test_exported_file_equals_torch_for_any_camera_count(kind, tmp_path):
    torch.manual_seed(0)
    model = BevDet(ModelConfig(name="test", view=ViewConfig(kind=kind, heights=[0.5, 1.5]), **NARROW))
    target = tmp_path / "student.onnx"
    export_student(model, target, {"data": "none"}, {"mAP": 0.0}, {})
    student = load_student(target)
    assert student.spec.provenance == {"data": "none"} and student.spec.view.kind == kind
    assert not {node.op_type for node in onnx.load(target).graph.node} & set(PLAIN_OPERATORS_ONLY)
    for cameras in (1, 6, 8):
        example = example_inputs(model, cameras)
        example.arrays[1][0] = 0.0
        got = OnnxRuntimeEngine(student, cameras, ONE_THREAD).run(dict(zip(example.names, example.arrays, strict=True)))
        with torch.inference_mode():
            expected = model(*example.tensors())
        for name, reference in zip(("heatmap", "regression"), expected, strict=True):
            np.testing.assert_allclose(got[name], reference.numpy(), atol=1e-3, rtol=1e-3)


def test_provenance_states_the_run(painted):
    facts = provenance_of(make_config(painted, 7), "")
    assert facts["training"] == "7 steps of 1 samples per process, seed 0, bf16-mixed"
    assert facts["data"] == f"{painted.root} {VERSION}" and facts["commit"] == code_commit()


def test_a_missing_camera_changes_nothing_whatever_its_image_shows(tmp_path):
    torch.manual_seed(0)
    model = BevDet(ModelConfig(name="test", **NARROW)).eval()
    example = example_inputs(model, 6)
    example.arrays[1][2] = 0.0
    with torch.inference_mode():
        first = model(*example.tensors())
        example.arrays[0][2] = 0
        second = model(*example.tensors())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_unfaithful_export_leaves_no_file(tmp_path, monkeypatch):
    model = BevDet(ModelConfig(name="test", **NARROW))
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda *args: [value + 1.0 for value in run(*args)])
    with pytest.raises(StudentError, match="differs from PyTorch"):
        export_student(model, tmp_path / "student.onnx", {}, {}, {})
    assert not list(tmp_path.iterdir())


def test_torch_engine_runs_the_weights_beside_the_file(finished, tmp_path):
    model = load_model(finished / WEIGHTS_FILE)
    export_student(model, tmp_path / "student.onnx", {}, {}, {})
    student = load_student(tmp_path / "student.onnx")
    with pytest.raises(EngineError, match="does not exist"):
        TorchEngine(student, 6, ONE_THREAD)
    (tmp_path / "student.safetensors").write_bytes((finished / WEIGHTS_FILE).read_bytes())
    example = example_inputs(model, 6)
    inputs = dict(zip(example.names, example.arrays, strict=True))
    reference = OnnxRuntimeEngine(student, 6, ONE_THREAD).run(inputs)
    got = TorchEngine(student, 6, ONE_THREAD).run(inputs)
    for name in reference:
        np.testing.assert_allclose(got[name], reference[name], atol=1e-3, rtol=1e-3)
    with pytest.raises(EngineError, match="camera_valid"):
        TorchEngine(student, 6, ONE_THREAD).run({"images": inputs["images"]})
