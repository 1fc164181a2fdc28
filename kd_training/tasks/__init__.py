"""What a run trains: a student (distilled, on depth alone, an update of an old one), a teacher, or a label encoder."""

from dataclasses import replace

from kd_training.config.experiment import AnyConfig, LabelTrainConfig, TeacherTrainConfig, TrainConfig
from kd_training.tasks.depth import DepthTask
from kd_training.tasks.distilled import DistillTask
from kd_training.tasks.labels import LabelTask
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Task
from kd_training.tasks.teacher import TeacherTask
from kd_training.tasks.update import UpdateTask


def build_task(config: AnyConfig) -> Task:
    """The task of a configuration, yet to begin or to be restored.

    Raises ConfigError or DataError where configuration, teacher and data do not fit together.
    """
    if isinstance(config, TeacherTrainConfig):
        return TeacherTask(config)
    if isinstance(config, LabelTrainConfig):
        return LabelTask(config)
    if config.continual.student:
        return UpdateTask(_student_task(config))
    return _student_task(config)


def _student_task(config: TrainConfig) -> StudentTask:
    """With a teacher, on depth alone, or neither. The heads of an update stay the student's own."""
    if config.distill.teacher or config.cross_scale.teacher:
        own_head = replace(config, distill=replace(config.distill, inherit_head=False))
        return DistillTask(own_head if config.continual.student else config)
    return DepthTask(config) if config.loss.depth_alone else StudentTask(config)
