"""A student's training without a teacher."""

from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch.utils.data import Dataset

from kd_perception.errors import ConfigError
from kd_training.batches.processes import TrainingProcesses
from kd_training.checkpoints.backbone_weights import load_backbone
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch, StepBatches
from kd_training.data.frames import check_intervals, open_frames
from kd_training.data.to_device import to_device
from kd_training.losses.detection import student_losses
from kd_training.models.backbones.efficientnet_lite import EfficientNetLite
from kd_training.models.students import build_student
from kd_training.tasks.plan import RunPlan
from kd_training.tasks.task import Losses, PlainTask


class StudentTask(PlainTask):
    """See Task."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.name, self.helper = config, config.model.name, None
        self.rates = {"backbone": config.schedule.backbone_rate}
        self.model = build_student(config.model)
        self.model.backbone.freeze(config.schedule.freeze_stages)
        self.model.to(memory_format=torch.channels_last)
        self.frames = open_frames(config.data.roots, config.data.camera_motion)
        if self.model.spec.memory is not None:
            check_intervals(self.frames, self.model.spec.memory)

    def begin(self, weights: Path | None) -> None:
        """`weights` fill the whole model, or all but what a student adds to a simpler one and what is to start anew;
        without, the backbone starts from its own, if it has any."""
        schedule = self.config.schedule
        if weights is not None:
            load_weights(self.model, weights, self.model.added_modules, schedule.anew)
        elif schedule.anew:
            raise ConfigError("schedule.anew says which parts --weights does not fill, but none are given; give a file")
        elif self.config.model.backbone_weights:
            load_backbone(self.model.backbone, self.config.model)
        elif schedule.freeze_stages and not isinstance(self.model.backbone, EfficientNetLite):
            raise ConfigError(
                f"schedule.freeze_stages would keep random stages of {self.config.model.backbone} as they are; give "
                "model.backbone_weights or --weights, or set schedule.freeze_stages=0"
            )

    def batches(self, plan: RunPlan) -> Dataset:
        """Images, geometry, truth and depth labels."""
        data, schedule = self.config.data, self.config.schedule
        return StepBatches(
            self.model.spec, self.frames, data.augment, schedule.batch, schedule.seed, data.balance_classes,
            self.config.loss.depth > 0, plan.rank, plan.processes,
        )  # fmt: skip

    def to_device(self, batch: Batch, fabric: Fabric) -> Batch:
        """The batch where the model is."""
        return to_device(batch, fabric.device)

    def losses(self, batch: Batch, step: int, processes: TrainingProcesses) -> Losses:
        """Detection and depth."""
        return Losses(student_losses(self.model.train_forward(batch.inputs), batch, self.config.loss, processes))
