"""A student's training with a frozen teacher (DistillBEV, arXiv:2309.15109)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_perception.errors import ConfigError
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch
from kd_training.data.first_look import check_first_clouds
from kd_training.data.frame_checks import check_clouds
from kd_training.data.lidar_source import LidarSource
from kd_training.distill.blending import build_blending
from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.blending.protocol import even_weights
from kd_training.distill.distiller import Distiller, Side
from kd_training.distill.head import inherit_head
from kd_training.losses.detection import student_losses
from kd_training.tasks.frozen_labels import FrozenLabels
from kd_training.tasks.frozen_teacher import FrozenTeacher, KeptOutputs, check_repeatable
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Losses, MicroStep


class DistillTask(StudentTask):
    """Images and clouds in, detection and depth losses and terms of distillation out; the blending sets the weights of
    the terms."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        check_clouds(self.frames)
        check_first_clouds(self.frames)
        distill = config.distill
        self.teacher = FrozenTeacher(Path(distill.teacher))
        spec, teacher = self.model.spec, self.teacher.model
        encoder = distill.labels.encoder
        self.labels = FrozenLabels(Path(encoder), self.teacher) if distill.labels.weight > 0 else None
        self.lidar = LidarSource(config.data.cloud_cache_bytes, teacher.config)
        self.distiller = Distiller(
            distill,
            Side(self.name, spec.grid, spec.classes, self.model.feature_channels, self.model.head),
            Side(
                teacher.config.name,
                teacher.grid,
                teacher.classes,
                teacher.feature_channels,
                teacher.head,
                teacher.layer_heights,
            ),
            self.labels,
        )
        self.shared_layers = self.model.shared_layers()
        self.blending = build_blending(distill.blending, self.distiller.term_names)
        self.kept = None
        if distill.cache_bytes:
            check_repeatable(config.data.augment)
            layers = self.distiller.teacher_layers
            self.kept = KeptOutputs(self.teacher, layers, self.frames, self.lidar, distill.cache_bytes)
        self.log: dict[str, Tensor] = {}

    @property
    def adapters(self) -> Distiller:
        """The distiller: its parameters are the adapters'."""
        return self.distiller

    def adapters_alone(self, step: int) -> bool:
        """In the first distill.adapter_steps."""
        return step < self.config.distill.adapter_steps

    def begin(self, weights: Path | None) -> None:
        """As a student's; then the task heads become the teacher's, where they are to be inherited."""
        super().begin(weights)
        if self.config.distill.inherit_head:
            inherit_head(self.model.head, self.teacher.model.head)

    def teacher_outputs(self, batch: Batch, rigs: Tensor | None = None) -> DetectorOutputs:
        """The teacher's outputs for a batch, or for some of its rigs (R,) int64, rising; kept ones where
        distill.cache_bytes says so."""
        shown = batch.shown if rigs is None else [batch.shown[number] for number in rigs.tolist()]
        if self.kept is not None:
            return self.kept.outputs(shown, batch.depth.device)
        return self.teacher.outputs(batch.points if rigs is None else batch.points.of_rigs(rigs), len(shown))

    def losses_of(self, outputs: DetectorOutputs, batch: Batch, now: MicroStep) -> Losses:
        """A student's losses, and the scalar terms of distillation. While the adapters learn alone, no gradient of the
        terms reaches the student.

        The terms look at new keyframes alone: what is replayed was taught before. A batch without any is compared all
        the same and counts nothing, because other processes wait for its share of their sums.
        """
        compared = outputs.map(Tensor.detach) if self.adapters_alone(now.step) else outputs
        new = [number for number, shown in enumerate(batch.shown) if shown.key not in self.replayed]
        truth, cameras, rigs = batch.ground_truth, [shown.cameras for shown in batch.shown], None
        if 0 < len(new) < len(batch.shown):
            rigs = torch.tensor(new, device=batch.depth.device)
            compared, truth, cameras = compared.of_rigs(rigs), truth.of_rigs(rigs), [cameras[number] for number in new]
        teacher = self.teacher_outputs(batch, rigs)
        distilled = self.distiller(compared, teacher, truth, now.processes, cameras=cameras)
        self.log = distilled.log
        terms = distilled.terms if new else {name: 0.0 * value for name, value in distilled.terms.items()}
        return Losses(student_losses(outputs, batch, self.config.loss, now.processes), terms)

    def total(self, losses: Losses, now: MicroStep) -> Tensor:
        """The blended scalar loss; at a step's first micro-batch the blending may look at the gradients."""
        task = losses.task_total()
        if self.adapters_alone(now.step):
            return even_weights(self.distiller.term_names).total(task, losses.terms)
        if now.micro_batch == 0:
            since = now.step - self.config.distill.adapter_steps
            self.blending.update(since, task, losses.terms, SharedLayers(self.shared_layers, now.processes.mean))
        return self.blending.weights.total(task, losses.terms)

    def figures(self) -> dict[str, float]:
        """The weights of the terms, how far they agree with the task, and what the terms report about themselves."""
        weights = self.blending.weights
        named = {f"weight/{name}": value for name, value in {"task": weights.task, **weights.terms}.items()}
        return {**named, **self.blending.figures, **{name: float(value) for name, value in self.log.items()}}

    def get_extra_state(self) -> dict[str, Any]:
        """The blending's state, and which teacher and label encoder it was."""
        return {"blending": self.blending.state_dict(), **self._frozen}

    @property
    def _frozen(self) -> dict[str, str]:
        """Digests of what a run must find again when it goes on."""
        return {"teacher": self.teacher.digest, "labels": "" if self.labels is None else self.labels.digest}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises ConfigError if the weights of teacher or label encoder are not those of before."""
        distill = self.config.distill
        named = {"teacher": f"teacher {distill.teacher}", "labels": f"labels.encoder {distill.labels.encoder}"}
        for key, digest in self._frozen.items():
            if state.get(key, "") != digest:
                raise ConfigError(
                    f"distill.{named[key]} has other weights than when this run began; bring them back, or start a new "
                    "run from this one's weights with --weights"
                )
        self.blending.load_state_dict(state["blending"])
