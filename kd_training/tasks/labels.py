"""A label encoder's training (LabelDistill, arXiv:2407.10164): boxes in, the frozen teacher's detection losses out."""

from pathlib import Path

import torch
from torch.utils.data import Dataset

from kd_perception.geometry.grid import BevGrid
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import load_weights
from kd_training.config.experiment import LabelTrainConfig
from kd_training.data.frames import open_frames
from kd_training.data.label_batches import LabelBatch, LabelBatches
from kd_training.data.painted_boxes import paint_boxes
from kd_training.losses.detection import detection_losses
from kd_training.models.teachers.label_encoder import LabelEncoder
from kd_training.tasks.frozen_teacher import FrozenTeacher
from kd_training.tasks.task import Losses, MicroStep, Task


class LabelTask(Task):
    """True boxes in, detection losses of the teacher's neck and head out; only the encoder learns."""

    def __init__(self, config: LabelTrainConfig) -> None:
        super().__init__()
        self.config, self.name, self.learning_rate_multipliers = config, config.labels.name, {}
        self.teacher = FrozenTeacher(Path(config.labels.teacher), "labels.teacher")
        self.model = LabelEncoder(config.labels, self.teacher.model)
        self.model.to(memory_format=torch.channels_last)
        self.frames = open_frames(config.data.roots, self.teacher.model.classes, anchor=config.data.anchor)

    @property
    def grid(self) -> BevGrid:
        """The teacher's."""
        return self.teacher.model.grid

    def begin(self, weights: Path | None) -> None:
        """`weights` fill the encoder, which then belongs to this run's teacher."""
        if weights is not None:
            load_weights(self.model, weights)
        self.model.belong_to(self.teacher.digest)

    def batches(self, plan: RunPlan) -> Dataset:
        """Ground truth."""
        return LabelBatches(self.frames, self.config, plan, grid=self.grid, coding=self.teacher.model.coding)

    def forward(self, batch: LabelBatch, now: MicroStep) -> Losses:
        """Scalar losses heatmap and box of the boxes of B rigs, shapes as in GroundTruth."""
        truth = batch.ground_truth
        self.teacher.model.to(truth.heatmap.device)
        levels = self.model(paint_boxes(truth.boxes, self.grid).to(truth.heatmap.device), len(truth.boxes))
        outputs = self.teacher.model.from_levels(levels)
        return Losses(detection_losses(outputs, truth, self.config.loss, now.processes))
