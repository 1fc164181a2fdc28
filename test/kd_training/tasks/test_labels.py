"""A label encoder's run: bit-exact after an interruption, scored through its teacher's head, and refused where it
belongs to another teacher."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import write_dataset
from support.tiny_runs import label_run, write_teacher

from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, file_digest
from kd_training.checkpoints.models import load_label_encoder, load_teacher
from kd_training.evaluation.finished_run import validate
from kd_training.evaluation.validation import validation_metrics
from kd_training.loop.train import train
from kd_training.tasks import build_task


def test_an_interrupted_and_resumed_encoder_is_bit_exact_and_is_validated(tmp_path, monkeypatch):
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    config = label_run(write_dataset(tmp_path / "data"), teacher)
    assert train(config, tmp_path / "straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert not train(config, tmp_path / "resumed")
    assert train(config, tmp_path / "resumed", resume=True)
    straight, resumed = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("straight", "resumed"))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert not any(name.startswith(("neck", "head", "teacher.")) for name in straight)
    ((_, metrics),) = validation_metrics(tmp_path / "straight")
    assert 0.0 <= metrics.mean_ap <= 1.0
    validate(tmp_path / "straight")
    assert not (tmp_path / "straight" / "pictures").exists()


def test_an_encoder_belongs_to_one_teachers_weights(tmp_path):
    teacher, other = (write_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    assert train(label_run(write_dataset(tmp_path / "data"), teacher, steps=1), tmp_path / "run")
    weights = tmp_path / "run" / WEIGHTS_FILE
    assert not load_label_encoder(weights, load_teacher(teacher), file_digest(teacher)).training
    with pytest.raises(ConfigError, match="was trained through another teacher than tiny_teacher"):
        load_label_encoder(weights, load_teacher(other), file_digest(other))
    with pytest.raises(ConfigError, match="is a teacher's .tiny_teacher.; give a label encoder's"):
        load_label_encoder(teacher, load_teacher(teacher), file_digest(teacher))


def test_a_run_needs_its_teacher(tmp_path):
    with pytest.raises(ConfigError, match="labels.teacher is .*, which does not exist; train the teacher first"):
        build_task(label_run(Path("none"), tmp_path / "absent.safetensors"))
