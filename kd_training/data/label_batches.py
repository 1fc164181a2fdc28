"""Batches of a label encoder's training as a function of the step: boxes alone, augmented as a teacher's."""

from collections.abc import Sequence

import numpy as np
import torch

from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import BoxCoding
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import LabelTrainConfig
from kd_training.data.bev_augmentation import draw_bev_augmentation
from kd_training.data.frames import TrainingFrame
from kd_training.data.ground_truth import GroundTruth, join_ground_truth
from kd_training.data.sampling import FrameSampler
from kd_training.data.targets import DetectionTargets, detection_targets


class LabelBatch:
    """Ground truth of B rigs; a plain class for the reason that Batch is."""

    def __init__(self, ground_truth: GroundTruth) -> None:
        self.ground_truth = ground_truth

    def to(self, device: torch.device) -> "LabelBatch":
        """The same on a device."""
        return LabelBatch(self.ground_truth.to(device))


class LabelBatches(torch.utils.data.Dataset):
    """Maps a micro-batch's index to this process's batch; use with a DataLoader of batch_size None and
    the indices as sampler."""

    def __init__(
        self,
        frames: Sequence[TrainingFrame],
        config: LabelTrainConfig,
        plan: RunPlan,
        *,
        grid: BevGrid,
        coding: BoxCoding,
    ) -> None:
        """`grid` and `coding` are the teacher's."""
        self.config, self.plan, self.grid, self.coding = config, plan, grid, coding
        self.sampler = FrameSampler(frames, config.schedule.seed, balance=config.data.balance_classes)

    def __getitem__(self, index: int) -> LabelBatch:
        positions = self.plan.positions(index, self.config.schedule.batch)
        return LabelBatch(join_ground_truth([self._targets(position) for position in positions]))

    def _targets(self, position: int) -> DetectionTargets:
        rng = np.random.default_rng([self.config.schedule.seed, position])
        boxes = self.sampler.at(position, rng).boxes
        return detection_targets(
            draw_bev_augmentation(rng, self.config.data.augment).boxes(boxes), self.grid, self.coding
        )
