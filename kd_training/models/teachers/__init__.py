"""Teachers: LiDAR detectors on the student's BEV grid."""

from kd_training.config.teacher import TeacherModelConfig
from kd_training.models.teachers.centerpoint import CenterPoint


def build_teacher(config: TeacherModelConfig) -> CenterPoint:
    """The teacher of a model configuration; raises ConfigError where its values do not fit together."""
    return CenterPoint(config)
