"""A node next to a teacher is told of its classes by its file, or by a list."""

import pytest
from support.checkout import ROOT
from support.fake_teacher import TEACHER_SPEC, write_fake_teacher

from kd_perception.errors import StudentError
from kd_perception.geometry.classes import NUSCENES
from kd_perception.teacher.classes import classes_of_teacher


def test_the_classes_of_a_teachers_file_or_of_a_list(tmp_path):
    assert classes_of_teacher(write_fake_teacher(tmp_path / "t.onnx")) == TEACHER_SPEC.classes
    assert classes_of_teacher(ROOT / "config/classes/nuscenes.yaml") == NUSCENES
    with pytest.raises(StudentError, match="nothing.onnx"):
        classes_of_teacher(tmp_path / "nothing.onnx")
