"""Training on real input: a teacher is overfitted to the one real nuScenes keyframe, and a student to the teacher."""

import pytest
from support.real_keyframe import SHIPPED, SHIPPED_TEACHER, on_real_data, reached

from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE
from kd_training.loop.train import train

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_a_teacher_learns_it_and_a_student_from_that_teacher(tmp_path):
    assert train(on_real_data("overfit_real_teacher"), tmp_path / "teacher", weights=resource(SHIPPED_TEACHER))
    assert 0.40 <= reached(tmp_path / "teacher") <= 0.50 + 1e-6
    config = on_real_data("overfit_real_distilled")
    config.distill.teacher = str(tmp_path / "teacher" / WEIGHTS_FILE)
    assert train(config, tmp_path / "student", weights=resource(SHIPPED))
    assert 0.40 <= reached(tmp_path / "student") <= 0.50 + 1e-6
