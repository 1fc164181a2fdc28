"""The model of a weights file that kd train wrote."""

from pathlib import Path

import torch

from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import checkpoint_config, load_weights, read_weights
from kd_training.config.experiment import label_config, student_config, teacher_config
from kd_training.models.students import build_student
from kd_training.models.students.camera_student import CameraStudent
from kd_training.models.teachers import build_teacher
from kd_training.models.teachers.centerpoint import CenterPoint
from kd_training.models.teachers.label_encoder import DIGEST, LabelEncoder


def load_model(weights: Path) -> CameraStudent:
    """The student of a weights file that kd train wrote, in evaluation mode."""
    model = build_student(student_config(checkpoint_config(weights), str(weights)).model)
    load_weights(model, weights)
    return model.eval()


def load_teacher(weights: Path) -> CenterPoint:
    """The teacher of a weights file that kd train wrote, in evaluation mode."""
    model = build_teacher(teacher_config(checkpoint_config(weights), str(weights)).teacher)
    load_weights(model, weights)
    return model.eval()


def load_label_encoder(weights: Path, teacher: CenterPoint, digest: str) -> LabelEncoder:
    """The label encoder of a weights file that kd train wrote, in evaluation mode.

    Raises ConfigError if it was not trained through `teacher`, whose file has that digest.
    """
    config = label_config(checkpoint_config(weights), str(weights))
    if bytes(read_weights(weights)[0].get(DIGEST, torch.empty(0)).tolist()).hex() != digest:
        raise ConfigError(
            f"{weights} was trained through another teacher than {teacher.config.name}, or other weights of it; train "
            f"it again: kd train config/labels/... labels.teacher=FILE (it was {config.labels.teacher})"
        )
    model = LabelEncoder(config.labels, teacher)
    load_weights(model, weights)
    return model.eval()
