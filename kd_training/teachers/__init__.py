"""Teachers: LiDAR detectors on the student's BEV grid."""

from kd_training.teachers.centerpoint import CenterPoint
from kd_training.teachers.config import TeacherModelConfig


def build_teacher(config: TeacherModelConfig) -> CenterPoint:
    """The teacher of a model configuration; raises ConfigError where its values do not fit together."""
    return CenterPoint(config)
