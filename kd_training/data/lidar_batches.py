"""A teacher's batches as a function of the step: the same seed and step give the same batch, as for students."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import LidarAugmentConfig, LidarDataConfig
from kd_training.data.frames import TrainingFrame
from kd_training.data.ground_truth import GroundTruth, join_ground_truth
from kd_training.data.paste import build_paste
from kd_training.data.points import PointSource, augment_points, collate_points
from kd_training.data.sampling import FrameSampler
from kd_training.data.targets import detection_targets


@dataclass(frozen=True)
class LidarBatch:
    """Clouds of B rigs and their truth, augmented alike."""

    rigs: int
    points: PointBatch
    truth: GroundTruth


class LidarBatches(torch.utils.data.Dataset):
    """Maps a step to this process's batch; use with a DataLoader of batch_size None and the steps as sampler."""

    def __init__(
        self, grid: BevGrid, source: PointSource, frames: tuple[TrainingFrame, ...], config: LidarDataConfig,
        batch: int, seed: int, steps: int, rank: int = 0, world_size: int = 1,
    ) -> None:  # fmt: skip
        self.grid, self.source, self.config = grid, source, config
        self.batch, self.seed, self.steps = batch, seed, steps
        self.rank, self.world_size = rank, world_size
        self.sampler = FrameSampler(frames, seed, config.balance_classes)
        self.paste = build_paste(frames, source, config.paste)

    def __getitem__(self, step: int) -> LidarBatch:
        clouds, targets = [], []
        for slot in range(self.batch):
            position = (step * self.world_size + self.rank) * self.batch + slot
            rng = np.random.default_rng([self.seed, position])
            frame = self.sampler.at(position, rng)
            cloud, boxes = self.source.cloud(frame), frame.boxes
            if self.paste is not None and step < self.config.paste.until * self.steps:
                cloud, boxes = self.paste(cloud, boxes, rng)
            world = draw_bev_augmentation(rng, self.config.augment)
            clouds.append(augment_points(cloud, world.matrix, self.grid))
            targets.append(detection_targets(world.boxes(boxes), self.grid))
        return LidarBatch(self.batch, collate_points(clouds), join_ground_truth(targets))


@dataclass(frozen=True)
class BevAugmentation:
    """A turned, maybe mirrored, scaled world: target_from_ego is orthogonal (4, 4), then all lengths are scaled."""

    target_from_ego: np.ndarray
    scale: float

    @property
    def matrix(self) -> np.ndarray:
        """Both in one (4, 4)."""
        return np.diag([self.scale, self.scale, self.scale, 1.0]) @ self.target_from_ego

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes of ego in this world; velocities are lengths, too."""
        turned = boxes.transformed(self.target_from_ego)
        return replace(
            turned,
            center=self.scale * turned.center, size=self.scale * turned.size, velocity=self.scale * turned.velocity,
        )  # fmt: skip


def draw_bev_augmentation(rng: np.random.Generator, config: LidarAugmentConfig) -> BevAugmentation:
    """One sample's random choices."""
    turn = rng.uniform(-config.bev_rotation, config.bev_rotation)
    scale = 1.0 + rng.uniform(-config.scale, config.scale)
    left_right = -1.0 if rng.random() < 0.5 and config.mirror else 1.0
    front_back = -1.0 if rng.random() < 0.5 and config.mirror_front else 1.0
    target_from_ego = np.diag([front_back, left_right, 1.0, 1.0])
    target_from_ego[:2] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ target_from_ego[:2]
    return BevAugmentation(target_from_ego, scale)
