"""A student's training without a teacher."""

from pathlib import Path

import torch
from torch.utils.data import Dataset

from kd_perception.errors import ConfigError
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.backbone_weights import load_backbone
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch, StepBatches, replayed_keys
from kd_training.data.first_look import check_first_clouds
from kd_training.data.frame_checks import check_depth_labels, check_intervals
from kd_training.data.lidar_source import LidarSource
from kd_training.data.unlabelled_sets import open_student_frames
from kd_training.losses.detection import student_losses
from kd_training.models.backbones.efficientnet_lite import EfficientNetLite
from kd_training.models.students import build_student
from kd_training.tasks.task import Losses, MicroStep, Task


class StudentTask(Task):
    """Images in, detection and depth losses out."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config, self.name = config, config.model.name
        self.learning_rate_multipliers = {"backbone": config.schedule.backbone_rate}
        self.model = build_student(config.model)
        self.model.backbone.freeze(config.schedule.freeze_stages)
        self.model.to(memory_format=torch.channels_last)
        self.frames = open_student_frames(config.data, self.model.spec.classes, config.continual)
        self.replayed = replayed_keys(self.frames)
        if config.loss.depth > 0:
            if not self.model.predicts_depth:
                raise ConfigError(f"model {self.name} has no depth network, so it cannot learn depth; set loss.depth=0")
            check_depth_labels(self.frames)
            check_first_clouds(self.frames)
        self.lidar = LidarSource(config.data.cloud_cache_bytes)
        if self.model.spec.memory is not None:
            check_intervals(self.frames, self.model.spec.memory)

    @property
    def grid(self) -> BevGrid:
        """The model's."""
        return self.model.spec.grid

    def begin(self, weights: Path | None) -> None:
        """`weights` fill the whole model, except what a student adds to a simpler one and what schedule.anew names;
        without them the backbone starts from its own, if it has any."""
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
        """Images, geometry, ground truth, depth labels; clouds where a teacher sees every batch."""
        return StepBatches(self.model.spec, self.frames, self.config, plan, self.lidar)

    def forward(self, batch: Batch, now: MicroStep) -> Losses:
        """Scalar losses of a batch of B rigs and N cameras, shapes as in Batch: heatmap, box, and depth with a
        weight."""
        return self.losses_of(self.model.train_forward(batch.inputs), batch, now)

    def losses_of(self, outputs: DetectorOutputs, batch: Batch, now: MicroStep) -> Losses:
        """The losses of the student's outputs for a batch."""
        return Losses(student_losses(outputs, batch, self.config.loss, now.processes))
