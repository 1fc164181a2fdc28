"""`kd bench update`: an update's step next to a plain one, and to those without its teacher and its old student."""

import pytest
import torch
from support.nuscenes_tables import write_dataset
from support.tiny_runs import student_run, teacher_run
from support.updates import update_run, write_buffer, write_old_student

from kd_bench.steps.command import PLAIN, measure, rows_of
from kd_bench.steps.update import FORGETTING, UNTAUGHT, UPDATE, begin_update
from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.models.teachers import build_teacher


def test_each_part_is_in_the_courses_that_have_it(tmp_path):
    data, old = write_dataset(tmp_path / "data"), write_old_student(tmp_path / "robot.safetensors")
    taught = teacher_run(data)
    save_weights(build_teacher(taught.teacher).state_dict(), taught, tmp_path / "teacher.safetensors")
    config = update_run(data, old, steps=2)
    config.continual.replay.folder = str(write_buffer(data, tmp_path / "buffer"))
    config.distill.teacher = str(tmp_path / "teacher.safetensors")
    save_weights({"any": torch.zeros(1)}, config, tmp_path / "weights.safetensors")

    courses = begin_update(tmp_path / "weights.safetensors")
    measure(courses, warm=1, count=2)
    assert [row[0] for row in rows_of(courses)] == [PLAIN, UPDATE, UNTAUGHT, FORGETTING]
    parts = {name: {row[0] for row in course.parts.rows()} for name, course in courses.items()}
    assert {name for name, found in parts.items() if "teacher" in found} == {UPDATE, FORGETTING}
    assert {name for name, found in parts.items() if "old student" in found} == {UPDATE, UNTAUGHT}
    assert {len(course.seconds) for course in courses.values()} == {2}


def test_weights_of_another_training_are_refused(tmp_path):
    save_weights({"any": torch.zeros(1)}, student_run(tmp_path), tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match=r"weights\.safetensors are of no update; give the weights"):
        begin_update(tmp_path / "weights.safetensors")
