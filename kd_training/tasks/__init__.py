"""What a run trains: a student, its image half on depth alone, a student with a teacher, or a teacher."""

from kd_training.config.experiment import AnyConfig, TeacherTrainConfig
from kd_training.tasks.depth import DepthTask
from kd_training.tasks.distilled import DistillTask
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Task
from kd_training.tasks.teacher import TeacherTask


def build_task(config: AnyConfig) -> Task:
    """The task of a configuration, yet to begin or to be restored.

    Raises ConfigError or DataError where configuration, teacher and data do not fit together.
    """
    if isinstance(config, TeacherTrainConfig):
        return TeacherTask(config)
    if config.distill.teacher:
        return DistillTask(config)
    return DepthTask(config) if config.loss.depth_alone else StudentTask(config)
