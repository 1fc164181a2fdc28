"""Training on real input: a student is overfitted to the one real nuScenes keyframe and detects its objects."""

import pytest
from support.real_keyframe import SHIPPED, on_real_data, reached

from kd_perception.resources import resource
from kd_training.loop.train import train

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_a_student_is_overfitted_to_the_keyframe(tmp_path):
    assert train(on_real_data("overfit_real"), tmp_path, weights=resource(SHIPPED))
    assert 0.40 <= reached(tmp_path) <= 0.50 + 1e-6
