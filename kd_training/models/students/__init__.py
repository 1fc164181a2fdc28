"""Students: camera detectors, each a short file of explicit parts."""

from kd_training.config.sections import ModelConfig
from kd_training.models.students.bevdepth import BevDepth, BevDepth4d
from kd_training.models.students.bevdet import BevDet
from kd_training.models.students.bevdet4d import BevDet4d


def build_student(config: ModelConfig) -> BevDet:
    """The student of a model configuration; raises StudentError where its values do not fit together."""
    if config.camera_aware:
        return BevDepth4d(config) if config.temporal.frames > 1 else BevDepth(config)
    return BevDet4d(config) if config.temporal.frames > 1 else BevDet(config)
