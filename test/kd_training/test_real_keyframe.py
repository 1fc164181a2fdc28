"""Training on real input: student and teacher are overfitted to the one real nuScenes keyframe and detect its objects.

Five of the ten classes are in the frame, so that a perfect detector has mAP 0.5.
"""

from pathlib import Path

import pytest
from support.real_data import real_data

from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE
from kd_training.config.experiment import AnyConfig, load_config
from kd_training.config.sections import DataRoot
from kd_training.evaluation.validation import validation_metrics
from kd_training.loop.train import train

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def on_real_data(name: str) -> AnyConfig:
    """A shipped configuration on the real keyframe, wherever that lies."""
    config = load_config(resource(f"config/training/{name}.yaml"))
    config.data.roots = config.data.validation = [DataRoot(root=str(real_data("nuscenes-real")), version="v1.0-mini")]
    return config


def reached(out: Path) -> float:
    ((_, metrics),) = validation_metrics(out)
    return metrics.mean_ap


def test_a_student_is_overfitted_to_the_keyframe(tmp_path):
    assert train(on_real_data("overfit_real"), tmp_path, weights=Path(resource("models/bevdet_demo.safetensors")))
    assert 0.40 <= reached(tmp_path) <= 0.50 + 1e-6


def test_a_teacher_learns_it_and_a_student_from_that_teacher(tmp_path):
    assert train(on_real_data("overfit_real_teacher"), tmp_path / "teacher")
    assert 0.40 <= reached(tmp_path / "teacher") <= 0.50 + 1e-6
    config = on_real_data("overfit_real_distilled")
    config.distill.teacher = str(tmp_path / "teacher" / WEIGHTS_FILE)
    assert train(config, tmp_path / "student", weights=Path(resource("models/bevdet_demo.safetensors")))
    assert 0.40 <= reached(tmp_path / "student") <= 0.50 + 1e-6
