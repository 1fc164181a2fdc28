"""The model of a weights file that kd train wrote."""

from pathlib import Path

from kd_training.checkpoints.checkpoint import checkpoint_config, load_weights
from kd_training.config.experiment import student_config, teacher_config
from kd_training.models.students import build_student
from kd_training.models.students.bevdet import BevDet
from kd_training.models.teachers import build_teacher
from kd_training.models.teachers.centerpoint import CenterPoint


def load_model(weights: Path) -> BevDet:
    """The student of a weights file that kd train wrote, in evaluation mode."""
    model = build_student(student_config(checkpoint_config(weights), str(weights)).model)
    load_weights(model, weights)
    return model.eval()


def load_teacher(weights: Path) -> CenterPoint:
    """The teacher of a weights file that kd train wrote, in evaluation mode."""
    model = build_teacher(teacher_config(checkpoint_config(weights), str(weights)).teacher)
    load_weights(model, weights)
    return model.eval()
