"""Augmentation of a student's samples, images and geometry alike: the BEV plane is mirrored and turned, each image
scaled, turned and tinted.

Under a mirrored BEV plane images are mirrored, too: otherwise the headings that they show would contradict the boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from kd_perception.geometry.camera import Camera
from kd_training.config.sections import AugmentConfig

AS_IT_IS = AugmentConfig(
    mirror=False, bev_rotation=0.0, image_scale=0.0, image_rotation=0.0, colour=0.0, camera_drop=0.0, memory_drop=0.0
)


@dataclass(frozen=True)
class Augmentation:
    """One sample's random choices.

    target_from_ego (4, 4), orthogonal, maybe a mirror; network_from_network (cameras, 3, 3) per image; gain, offset
    (cameras,) of the pixel values; dropped: indices of the missing cameras.
    """

    target_from_ego: np.ndarray
    network_from_network: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    dropped: tuple[int, ...]

    def cameras(self, cameras: Sequence[Camera]) -> list[Camera]:
        """The rig in the augmented ego frame."""
        return [replace(camera, ego_from_camera=self.target_from_ego @ camera.ego_from_camera) for camera in cameras]

    def same_geometry(self, other: "Augmentation") -> bool:
        """Whether it moves ego and image pixels alike; tints and missing cameras may differ."""
        return np.array_equal(self.target_from_ego, other.target_from_ego) and np.array_equal(
            self.network_from_network, other.network_from_network
        )

    def at_scale(self, scale: float) -> "Augmentation":
        """The same for network images that are `scale` times as large: u' = scale u, as pixels have centres at .5."""
        larger = np.diag([scale, scale, 1.0])
        return replace(self, network_from_network=larger @ self.network_from_network @ np.linalg.inv(larger))

    def tint(self, image: np.ndarray, camera: int) -> np.ndarray:
        """uint8 image with gain and offset applied."""
        return cv2.convertScaleAbs(image, alpha=self.gain[camera], beta=self.offset[camera])


def draw_augmentation(
    rng: np.random.Generator,
    config: AugmentConfig,
    cameras: int,
    image_size: tuple[int, int],
    *,
    there: Sequence[int] | None = None,
) -> Augmentation:
    """Random choices for one sample; `image_size` (height, width) of the network's image.

    `there`: indices of the cameras that have an image, all without it; only these are dropped.
    """
    mirror = config.mirror and rng.random() < 0.5
    turn = rng.uniform(-config.bev_rotation, config.bev_rotation)
    target_from_ego = np.eye(4)
    target_from_ego[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    if mirror:
        target_from_ego = target_from_ego @ np.diag([1.0, -1.0, 1.0, 1.0])
    affines = np.stack([_image_affine(rng, config, image_size, mirror=mirror) for _ in range(cameras)])
    gain = rng.uniform(1.0 - config.colour, 1.0 + config.colour, cameras)
    offset = rng.uniform(-config.colour, config.colour, cameras) * 64.0
    there = range(cameras) if there is None else there
    dropped = _draw_dropped(rng, config, there) if rng.random() < config.camera_drop else ()
    return Augmentation(target_from_ego, affines, gain, offset, dropped)


def _draw_dropped(rng: np.random.Generator, config: AugmentConfig, there: Sequence[int]) -> tuple[int, ...]:
    """One to `camera_drop_most` of the indices, at least one of them staying (a lone camera may go)."""
    if not there:
        return ()
    most = max(1, min(config.camera_drop_most, len(there) - 1))
    chosen = rng.choice(len(there), rng.integers(1, most + 1), replace=False)
    return tuple(sorted(there[index] for index in chosen.tolist()))


def _image_affine(
    rng: np.random.Generator, config: AugmentConfig, image_size: tuple[int, int], *, mirror: bool
) -> np.ndarray:
    """Scale and rotation about the middle of the bottom edge (where the road is), then the mirror."""
    height, width = image_size
    scale = 1.0 + rng.uniform(-config.image_scale, config.image_scale)
    turn = rng.uniform(-config.image_rotation, config.image_rotation)
    pivot = np.array([width / 2.0, float(height)])
    affine = np.eye(3)
    affine[:2, :2] = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[:2, 2] = pivot - affine[:2, :2] @ pivot
    if mirror:
        affine = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ affine
    return affine
