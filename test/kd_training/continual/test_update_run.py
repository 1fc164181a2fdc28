"""An update from end to end: a student file under the old one's name, its ancestry, and the buffer, changed at the end
and only then."""

import errno
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import VERSION, write_dataset
from support.updates import NEW_SCENE, update_run, write_buffer, write_old_student

from kd_perception.errors import ConfigError, DataError
from kd_perception.student.ancestry import Ancestor
from kd_perception.student.spec import StudentSpec, load_student
from kd_training.checkpoints.checkpoint import load_state
from kd_training.checkpoints.export import export_student
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import DataRoot
from kd_training.continual import update as update_module
from kd_training.continual.ancestry import ancestry_of
from kd_training.continual.update import run_update
from kd_training.data.replay_buffer import read_buffer
from kd_training.evaluation.uncertainty import uncertainty


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    return write_old_student(tmp_path_factory.mktemp("old") / "robot.safetensors")


def replaying(data: Path, old: Path, folder: Path) -> TrainConfig:
    config = update_run(data, old, steps=2)
    config.continual.replay.folder = str(write_buffer(data, folder))
    config.data.validation = [DataRoot(root=str(data), version=VERSION, scenes=[NEW_SCENE])]
    config.continual.blend_share = 0.5
    return config


def test_an_update_from_end_to_end(data, old, tmp_path, monkeypatch):
    config, out = replaying(data, old, tmp_path / "buffer"), tmp_path / "out"
    before = read_buffer(tmp_path / "buffer")

    with monkeypatch.context() as patch:
        interrupt_at(patch, 0)
        with pytest.raises(KeyboardInterrupt):
            list(run_update(config, out))
    assert read_buffer(tmp_path / "buffer") == before and not list(out.glob("*.onnx"))

    with monkeypatch.context() as patch:  # killed behind the training, before the buffer took the domain in
        patch.setattr(update_module, "keep_domain", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            list(run_update(config, out, resume=True))
    assert read_buffer(tmp_path / "buffer") == before

    for _ in range(2):  # the second goes on where everything is done
        told = list(run_update(config, out, resume=True))
        buffer = read_buffer(tmp_path / "buffer")
        assert [domain.name for domain in buffer.state.domains] == ["north", "east"]
        assert told[-1].endswith("holds 6 keyframes of north, east")

    student = load_student(out / "robot.onnx")
    (first,) = student.spec.ancestry
    assert first.model.startswith("tiny_student@") and student.spec.provenance["domain"] == "east"
    assert student.spec.accuracy["NDS"] >= 0.0
    card = (out / "robot.md").read_text()
    assert student.model_id in card and first.model in card and "50% of the samples" in card
    assert "| weights | 0.5 of the way from the old ones" in card and student.spec.provenance["blend_share"] == "0.5"
    assert_ships_the_midpoint(out, config, tmp_path / "midpoint.onnx")
    grown = ancestry_of(str(out / "robot.onnx"))
    assert grown == (first, Ancestor(student.model_id, "east", student.spec.provenance["commit"]))
    assert StudentSpec.from_json(student.spec.to_json(), "again") == student.spec
    with pytest.raises(ConfigError, match="1 scenes of domain 'east' are in the buffer .* already"):
        list(run_update(config, tmp_path / "again"))


def assert_ships_the_midpoint(out: Path, config: TrainConfig, example: Path) -> None:
    """Weights and student file lie halfway between the old student and what was trained."""
    state, before = load_state(out, config), load_file(config.continual.student)
    trained = {**state["model"], **state["ema"]}
    released = load_file(out / "robot.safetensors")
    floats = [name for name, value in trained.items() if value.is_floating_point()]
    assert any(not torch.equal(released[name], trained[name]) for name in floats)
    for name in floats:
        torch.testing.assert_close(released[name], (before[name] + trained[name]) / 2)
    model = load_model(Path(config.continual.student))
    model.load_state_dict({**trained, **{name: (before[name] + trained[name]) / 2 for name in floats}})
    export_student(model, example, {}, {}, {})
    shipped, expected = (
        {entry.name: onnx.numpy_helper.to_array(entry) for entry in onnx.load(file).graph.initializer}
        for file in (out / "robot.onnx", example)
    )
    assert shipped.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(shipped[name], value, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_updated_leaves_everything_as_it_was(data, old, tmp_path, monkeypatch):
    config = replaying(data, old, tmp_path / "buffer")
    before = read_buffer(tmp_path / "buffer")
    refusals = {
        "continual.student names no student": ("student", ""),
        "continual.domain has no name": ("domain", ""),
        "'a/b' is no name of a domain": ("domain", "a/b"),
    }
    for message, (name, value) in refusals.items():
        kept = getattr(config.continual, name)
        setattr(config.continual, name, value)
        with pytest.raises(ConfigError, match=message):
            list(run_update(config, tmp_path / "out"))
        setattr(config.continual, name, kept)
    config.continual.buffer.least = 4
    with pytest.raises(ConfigError, match="too few to learn from"):
        list(run_update(config, tmp_path / "out"))
    config.continual.buffer.least = 2
    with monkeypatch.context() as patch, pytest.raises(OSError, match="Read-only"):
        refused = OSError(errno.EROFS, "Read-only file system")
        patch.setattr(update_module, "check_writable", lambda folder: (_ for _ in ()).throw(refused))
        list(run_update(config, tmp_path / "out"))
    config.continual.replay.folder = str(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no replay buffer"):
        list(run_update(config, tmp_path / "out"))
    assert read_buffer(tmp_path / "buffer") == before
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_student_is_unsure_where_it_wavers_and_where_it_misses_everything():
    def heatmap(*values: float) -> np.ndarray:
        return np.array(values, np.float32).reshape(1, 1, -1)

    assert uncertainty(heatmap(0.5, 0.01), boxes=1) == pytest.approx(1.0)
    assert uncertainty(heatmap(0.99, 0.01), boxes=1) == pytest.approx(0.0808, abs=1e-3)
    assert uncertainty(heatmap(0.01), boxes=2) == 1.0 and uncertainty(heatmap(0.01), boxes=0) == 0.0
