"""A teacher's batches as a function of the step: the same seed and step give the same batch, as for students."""

from collections.abc import Sequence

import numpy as np
import torch

from kd_perception.student.box_codes import coding_of
from kd_training.batches.point_batch import PointBatch
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import TeacherTrainConfig
from kd_training.data.bev_augmentation import draw_bev_augmentation
from kd_training.data.frames import TrainingFrame
from kd_training.data.ground_truth import GroundTruth, join_ground_truth
from kd_training.data.lidar_source import LidarSource
from kd_training.data.paste import build_paste
from kd_training.data.points import augment_points, collate_points
from kd_training.data.sampling import FrameSampler
from kd_training.data.targets import detection_targets


class LidarBatch:
    """Clouds of B = `rigs` rigs and their ground truth, augmented alike; a plain class for the reason that Batch is."""

    def __init__(self, rigs: int, points: PointBatch, ground_truth: GroundTruth) -> None:
        self.rigs, self.points, self.ground_truth = rigs, points, ground_truth

    def to(self, device: torch.device) -> "LidarBatch":
        """The same on a device."""
        return LidarBatch(self.rigs, self.points.to(device), self.ground_truth.to(device))


class LidarBatches(torch.utils.data.Dataset):
    """Maps a micro-batch's index to this process's batch; use with a DataLoader of batch_size None and the indices as
    sampler."""

    def __init__(
        self, frames: Sequence[TrainingFrame], config: TeacherTrainConfig, plan: RunPlan, lidar: LidarSource
    ) -> None:
        self.config, self.plan, self.lidar = config, plan, lidar
        self.coding = coding_of(config.teacher.heading)
        self.sampler = FrameSampler(frames, config.schedule.seed, balance=config.data.balance_classes)
        self.paste = build_paste(frames, lidar, config.data.paste)
        self.paste_until = config.data.paste.until * (plan.steps * plan.micro_batches)

    def __getitem__(self, index: int) -> LidarBatch:
        clouds, targets = [], []
        for position in self.plan.positions(index, self.config.schedule.batch):
            rng = np.random.default_rng([self.config.schedule.seed, position])
            frame = self.sampler.at(position, rng)
            cloud, boxes = self.lidar.cloud(frame), frame.boxes
            if self.paste is not None and index < self.paste_until:
                cloud, boxes = self.paste(cloud, boxes, rng)
            augmentation = draw_bev_augmentation(rng, self.config.data.augment)
            clouds.append(augment_points(cloud, augmentation.matrix, self.lidar.grid))
            targets.append(detection_targets(augmentation.boxes(boxes), self.lidar.grid, self.coding))
        return LidarBatch(len(clouds), collate_points(clouds), join_ground_truth(targets))
