"""A student's training with frozen teachers: a LiDAR teacher, a camera student of higher resolution, or both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_perception.errors import ConfigError
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch, StepBatches
from kd_training.distill.blending import build_blending
from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.head import inherit_head
from kd_training.losses.detection import student_losses
from kd_training.tasks.camera_lesson import CameraLesson, bev_side
from kd_training.tasks.lesson import TeacherLesson
from kd_training.tasks.lidar_lesson import LidarLesson
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Losses, MicroStep


class DistillTask(StudentTask):
    """What a student takes and what its teachers take in, detection and depth losses and terms of distillation out; the
    blending sets the weights of all teachers' terms."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.lidar_lesson = self.camera_lesson = None
        if config.distill.teacher:
            self.lidar_lesson = LidarLesson(config, bev_side(self.model, self.name), self.frames)
            self.lidar = self.lidar_lesson.lidar
        if config.cross_scale.teacher:
            self.camera_lesson = CameraLesson(config.cross_scale, self.model, self.name)
        self.lessons = tuple(lesson for lesson in (self.lidar_lesson, self.camera_lesson) if lesson is not None)
        self.distiller = _joined(self.lessons)
        self.term_names = tuple(name for lesson in self.lessons for name in lesson.term_names)
        before_the_view = self.camera_lesson is not None and self.camera_lesson.distiller.reads_images
        self.shared_layers = self.model.image_layers() if before_the_view else self.model.shared_layers()
        self.blending = build_blending(config.distill.blending, self.term_names)
        self.log: dict[str, Tensor] = {}

    @property
    def adapters(self) -> nn.Module:
        """The distillers: their parameters are the adapters'."""
        return self.distiller

    def begin(self, weights: Path | None) -> None:
        """As a student's; then the task heads become the LiDAR teacher's, where they are to be inherited."""
        super().begin(weights)
        if self.config.distill.inherit_head and self.lidar_lesson is not None:
            inherit_head(self.model.head, self.lidar_lesson.teacher.model.head)

    def batches(self, plan: RunPlan) -> Dataset:
        """As a student's, with clouds and finer images for the teachers."""
        finer = None if self.camera_lesson is None else self.camera_lesson.spec
        return StepBatches(self.model.spec, self.frames, self.config, plan, self.lidar, finer=finer)

    def losses_of(self, outputs: DetectorOutputs, batch: Batch, now: MicroStep) -> Losses:
        """A student's losses, and the scalar terms of distillation.

        The terms look at new keyframes alone: what is replayed was taught before. A batch without any is compared all
        the same and counts nothing, because other processes wait for its share of their sums.
        """
        new = [number for number, shown in enumerate(batch.shown) if shown.key not in self.replayed]
        rigs = torch.tensor(new, device=batch.depth.device) if 0 < len(new) < len(batch.shown) else None
        distilled = [lesson(outputs, batch, rigs, now.processes) for lesson in self.lessons]
        self.log = {name: value for part in distilled for name, value in part.log.items()}
        terms = {name: value for part in distilled for name, value in part.terms.items()}
        terms = terms if new else {name: 0.0 * value for name, value in terms.items()}
        return Losses(student_losses(outputs, batch, self.config.loss, now.processes), terms)

    def total(self, losses: Losses, now: MicroStep) -> Tensor:
        """The blended scalar loss; at a step's first micro-batch the blending may look at the gradients."""
        task = losses.task_total()
        if now.micro_batch == 0:
            self.blending.update(now.step, task, losses.terms, SharedLayers(self.shared_layers, now.processes.mean))
        return self.blending.weights.total(task, losses.terms)

    def figures(self) -> dict[str, float]:
        """The weights of the terms, how far they agree with the task, and what the terms report about themselves."""
        weights = self.blending.weights
        named = {f"weight/{name}": value for name, value in {"task": weights.task, **weights.terms}.items()}
        return {**named, **self.blending.figures, **{name: float(value) for name, value in self.log.items()}}

    def get_extra_state(self) -> dict[str, Any]:
        """The blending's state, and which files the teachers were."""
        frozen = {key: file.digest for lesson in self.lessons for key, file in lesson.frozen.items()}
        return {"blending": self.blending.state_dict(), **frozen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises ConfigError if the weights of a teacher or label encoder are not those of before."""
        for lesson in self.lessons:
            for key, file in lesson.frozen.items():
                if state.get(key, "") != file.digest:
                    raise ConfigError(
                        f"{file.named} has other weights than when this run began; bring them back, or start a new "
                        "run from this one's weights with --weights"
                    )
        self.blending.load_state_dict(state["blending"])


def _joined(lessons: Sequence[TeacherLesson]) -> nn.Module:
    """The distiller of one teacher as it is, so that states of earlier versions fit."""
    if len(lessons) == 1:
        return lessons[0].distiller
    return nn.ModuleDict({"lidar": lessons[0].distiller, "camera": lessons[1].distiller})
