"""What a run trains: a student, distilled or not, its image half on depth alone, a teacher, or a label encoder."""

from kd_training.config.experiment import AnyConfig, LabelTrainConfig, TeacherTrainConfig
from kd_training.tasks.depth import DepthTask
from kd_training.tasks.distilled import DistillTask
from kd_training.tasks.labels import LabelTask
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Task
from kd_training.tasks.teacher import TeacherTask


def build_task(config: AnyConfig) -> Task:
    """The task of a configuration, yet to begin or to be restored.

    Raises ConfigError or DataError where configuration, teacher and data do not fit together.
    """
    if isinstance(config, TeacherTrainConfig):
        return TeacherTask(config)
    if isinstance(config, LabelTrainConfig):
        return LabelTask(config)
    if config.distill.teacher:
        return DistillTask(config)
    return DepthTask(config) if config.loss.depth_alone else StudentTask(config)
