"""A student's training with a frozen teacher (DistillBEV, arXiv:2309.15109)."""

from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import Dataset

from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import CLASSES
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch, StepBatches
from kd_training.data.to_device import to_device
from kd_training.distill.blending import build_blending
from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.blending.protocol import even_weights
from kd_training.distill.distiller import Distiller, Side
from kd_training.distill.head import inherit_head
from kd_training.losses.detection import student_losses
from kd_training.tasks.frozen_teacher import FrozenTeacher, KeptAnswers, check_repeatable
from kd_training.tasks.plan import RunPlan
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Losses


class DistillTask(StudentTask):
    """See Task. The helper holds the adapters; the blending sets the weights of the terms."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        distill = config.distill
        self.teacher = FrozenTeacher(Path(distill.teacher))
        spec, teacher = self.model.spec, self.teacher.model
        self.helper = Distiller(
            distill,
            Side(self.name, spec.grid, CLASSES, self.model.feature_channels, self.model.head),
            Side(teacher.config.name, teacher.grid, CLASSES, teacher.feature_channels, teacher.head),
        )
        self.shared_layers = self.model.shared_layers()
        self.blending = build_blending(distill.blending, self.helper.term_names)
        self.kept = None
        if distill.cache_bytes:
            check_repeatable(config.data.augment)
            layers, cloud_bytes = self.helper.teacher_layers, config.data.cloud_cache_bytes
            self.kept = KeptAnswers(self.teacher, layers, self.frames, cloud_bytes, distill.cache_bytes)
        self.log: dict[str, Tensor] = {}

    def begin(self, weights: Path | None) -> None:
        """As a student's; then the task heads become the teacher's, where they are to be inherited."""
        super().begin(weights)
        if self.config.distill.inherit_head:
            inherit_head(self.model.head, self.teacher.model.head)

    def batches(self, plan: RunPlan) -> Dataset:
        """As a student's, with the teacher's points; without, where its answers are kept."""
        data, schedule = self.config.data, self.config.schedule
        points = None if self.kept is not None else self.teacher.points(data.cloud_cache_bytes)
        return StepBatches(
            self.model.spec, self.frames, data.augment, schedule.batch, schedule.seed, data.balance_classes,
            self.config.loss.depth > 0, plan.rank, plan.processes, points,
        )  # fmt: skip

    def to_device(self, batch: Batch, fabric: Fabric) -> tuple[Batch, DetectorOutputs]:
        """The batch, and what the teacher says to it."""
        moved = to_device(batch, fabric.device)
        if self.kept is not None:
            return moved, self.kept.answer(batch, fabric)
        return moved, self.teacher.answer(moved.points, moved.inputs.rigs, fabric)

    def losses(self, batch: tuple[Batch, DetectorOutputs], step: int, processes: TrainingProcesses) -> Losses:
        """A student's, and the terms of distillation; these are out of its reach while the adapters learn alone."""
        seen, teacher = batch
        outputs = self.model.train_forward(seen.inputs)
        compared = outputs.map(Tensor.detach) if self._adapters_alone(step) else outputs
        distilled = self.helper(compared, teacher, seen.truth, processes)
        self.log = distilled.log
        return Losses(student_losses(outputs, seen, self.config.loss, processes), distilled.terms)

    def total(self, losses: Losses, step: int, first_pass: bool, processes: TrainingProcesses) -> Tensor:
        """The blended loss; the blending looks at the gradients when it is time to."""
        task = losses.task_total()
        if self._adapters_alone(step):
            return even_weights(self.helper.term_names).total(task, losses.terms)
        if first_pass:
            since = step - self.config.distill.adapter_steps
            self.blending.update(since, task, losses.terms, SharedLayers(self.shared_layers, processes.mean))
        return self.blending.weights.total(task, losses.terms)

    def _adapters_alone(self, step: int) -> bool:
        return step < self.config.distill.adapter_steps

    def figures(self) -> dict[str, float]:
        """The weights of the terms, how far they agree with the task, and what the terms say about themselves."""
        weights = self.blending.weights
        named = {f"weight/{name}": value for name, value in {"task": weights.task, **weights.terms}.items()}
        return {**named, **self.blending.figures, **{name: float(value) for name, value in self.log.items()}}

    def state_dict(self) -> dict[str, Any]:
        """The blending's state, and which teacher it was."""
        return {"blending": self.blending.state_dict(), "teacher": self.teacher.digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ConfigError if the teacher's weights are not those of before."""
        if state["teacher"] != self.teacher.digest:
            raise ConfigError(
                f"distill.teacher {self.config.distill.teacher} has other weights than when this run began; bring them "
                "back, or start a new run from this one's weights with --weights"
            )
        self.blending.load_state_dict(state["blending"])
