"""A LiDAR teacher's training."""

from pathlib import Path

import torch
from torch.utils.data import Dataset

from kd_perception.geometry.grid import BevGrid
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.config.experiment import TeacherTrainConfig
from kd_training.data.first_look import check_first_clouds
from kd_training.data.frame_checks import check_clouds
from kd_training.data.frames import open_frames
from kd_training.data.lidar_batches import LidarBatch, LidarBatches
from kd_training.data.lidar_source import LidarSource
from kd_training.losses.detection import detection_losses
from kd_training.models.teachers import build_teacher
from kd_training.tasks.task import Losses, MicroStep, Task


class TeacherTask(Task):
    """Points in, detection losses out."""

    def __init__(self, config: TeacherTrainConfig) -> None:
        super().__init__()
        self.config, self.name, self.learning_rate_multipliers = config, config.teacher.name, {}
        self.model = build_teacher(config.teacher)
        self.model.to(memory_format=torch.channels_last)
        self.frames = open_frames(config.data.roots, self.model.classes, anchor=config.data.anchor)
        check_clouds(self.frames)
        check_first_clouds(self.frames)

    @property
    def grid(self) -> BevGrid:
        """The model's."""
        return self.model.grid

    def begin(self, weights: Path | None) -> None:
        """`weights` fill the model; a teacher with virtual points may continue from one without."""
        if weights is not None:
            load_weights(self.model, weights, self.model.added_modules)

    def batches(self, plan: RunPlan) -> Dataset:
        """Points and ground truth."""
        lidar = LidarSource(self.config.data.cache_bytes, self.config.teacher)
        return LidarBatches(self.frames, self.config, plan, lidar)

    def forward(self, batch: LidarBatch, now: MicroStep) -> Losses:
        """Scalar losses heatmap and box of a batch of B clouds, shapes as in LidarBatch."""
        outputs = self.model.train_forward(batch.points, batch.rigs)
        return Losses(detection_losses(outputs, batch.ground_truth, self.config.loss, now.processes))
