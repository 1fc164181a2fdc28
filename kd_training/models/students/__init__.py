"""Students: camera detectors, each a short file of explicit parts."""

from kd_perception.student.spec import ATTENTION
from kd_training.config.sections import ModelConfig
from kd_training.models.students.bevdepth import BevDepth, BevDepth4d
from kd_training.models.students.bevdet import BevDet
from kd_training.models.students.bevdet4d import BevDet4d
from kd_training.models.students.bevformer import BevFormer
from kd_training.models.students.camera_student import CameraStudent


def build_student(config: ModelConfig) -> CameraStudent:
    """The student of a model configuration; raises StudentError where its values do not fit together."""
    if config.view.kind == ATTENTION:
        return BevFormer(config)
    if config.camera_aware:
        return BevDepth4d(config) if config.temporal.frames > 1 else BevDepth(config)
    return BevDet4d(config) if config.temporal.frames > 1 else BevDet(config)
