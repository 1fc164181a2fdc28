"""A LiDAR teacher's training."""

from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch.utils.data import Dataset

from kd_training.batches.processes import TrainingProcesses
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.config.experiment import TeacherTrainConfig
from kd_training.data.frames import open_frames
from kd_training.data.lidar_batches import LidarBatch, LidarBatches
from kd_training.data.points import PointSource
from kd_training.data.to_device import to_device
from kd_training.losses.detection import detection_losses
from kd_training.models.teachers import build_teacher
from kd_training.tasks.plan import RunPlan
from kd_training.tasks.task import Losses, PlainTask


class TeacherTask(PlainTask):
    """See Task."""

    def __init__(self, config: TeacherTrainConfig) -> None:
        self.config, self.name, self.helper, self.rates = config, config.teacher.name, None, {}
        self.model = build_teacher(config.teacher)
        self.model.to(memory_format=torch.channels_last)
        self.frames = open_frames(config.data.roots)

    def begin(self, weights: Path | None) -> None:
        """`weights` fill the model; one with virtual points may go on from one without."""
        if weights is not None:
            load_weights(self.model, weights, self.model.added_modules)

    def batches(self, plan: RunPlan) -> Dataset:
        """Points and truth."""
        schedule, data, teacher = self.config.schedule, self.config.data, self.config.teacher
        source = PointSource(teacher.points, self.model.grid, teacher.pillar_size, data.cache_bytes)
        return LidarBatches(
            self.model.grid, source, self.frames, data, schedule.batch, schedule.seed, plan.steps * plan.passes,
            plan.rank, plan.processes,
        )  # fmt: skip

    def to_device(self, batch: LidarBatch, fabric: Fabric) -> LidarBatch:
        """The batch where the model is."""
        return to_device(batch, fabric.device)

    def losses(self, batch: LidarBatch, step: int, processes: TrainingProcesses) -> Losses:
        """Detection."""
        return Losses(
            detection_losses(
                self.model.train_forward(batch.points, batch.rigs), batch.truth, self.config.loss, processes
            )
        )
