"""Students: short files of explicit parts."""

from kd_training.config import ModelConfig
from kd_training.students.bevdet import BevDet
from kd_training.students.bevdet4d import BevDet4d


def build_student(config: ModelConfig) -> BevDet:
    """The student of a model configuration; raises StudentError where its values do not fit together."""
    return BevDet4d(config) if config.temporal.frames > 1 else BevDet(config)
