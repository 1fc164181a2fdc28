"""`kd bench steps`: three courses on the same keyframes, in turns; the table compares them with the plain one."""

import torch
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import student_run, teacher_run

from kd_bench.steps.command import KEPT, PLAIN, TAUGHT, begin, measure, rows_of
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.config.sections import DataRoot
from kd_training.data import rig_images
from kd_training.data.view_terms import view_terms
from kd_training.models.teachers import build_teacher


def test_the_courses_train_on_the_same_frames_and_predictions_are_kept(tmp_path):
    data = write_dataset(tmp_path / "data")
    taught = teacher_run(data)
    save_weights(build_teacher(taught.teacher).state_dict(), taught, tmp_path / "teacher.safetensors")
    courses = begin(student_run(data), tmp_path / "teacher.safetensors", DataRoot(root=str(data), version=VERSION))
    measure(courses, warm=3, count=2)
    assert [len(course.seconds) for course in courses.values()] == [2, 2, 2]
    assert courses[TAUGHT].task.lidar_lesson.kept is None
    courses[KEPT].task.lidar_lesson.teacher.outputs = None  # all outputs are kept: the teacher does not run again
    measure({KEPT: courses[KEPT]}, warm=0, count=3)
    assert len(courses[KEPT].seconds) == 5
    rows = rows_of(courses)
    assert [row[0] for row in rows] == [PLAIN, TAUGHT, KEPT] and rows[0][-1] == "1.00 x"
    parts = {name: [row[0] for row in course.parts.rows()] for name, course in courses.items()}
    assert "teacher" not in parts[PLAIN] and {"reading", "tables", "teacher", "backward"} <= set(parts[TAUGHT])
    spent = courses[TAUGHT].parts.parts
    assert 0.0 < sum(spent.values()) <= sum(processor for processor, _ in courses[TAUGHT].seconds)
    assert rig_images.view_terms is view_terms  # put back
    first = courses[PLAIN].task.model.state_dict()
    assert any(not torch.equal(first[name], value) for name, value in courses[TAUGHT].task.model.state_dict().items())
