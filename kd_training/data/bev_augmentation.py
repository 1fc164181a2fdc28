"""Augmentation of a teacher's samples: the BEV plane is turned, mirrored and scaled, points and boxes alike."""

from dataclasses import dataclass, replace

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_training.config.teacher import LidarAugmentConfig


@dataclass(frozen=True)
class BevAugmentation:
    """A turn, maybe with a mirror: target_from_ego is orthogonal (4, 4); then all lengths are scaled."""

    target_from_ego: np.ndarray
    scale: float

    @property
    def matrix(self) -> np.ndarray:
        """Both in one (4, 4)."""
        return np.diag([self.scale, self.scale, self.scale, 1.0]) @ self.target_from_ego

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes of ego, augmented; velocities are lengths, too."""
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
