"""Imitation of relations: how alike the features at the keypoints of one object are (UniDistill, arXiv:2303.15083)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import RelationConfig
from kd_training.distill.terms.term import ComparedBatch, TermValue


@dataclass(frozen=True)
class RelationTerm:
    """L = weight  mean over the boxes of all processes of |Gram(F_S) - Gram(F_T)|^2, the mean over a Gram matrix."""

    config: RelationConfig
    grid: BevGrid
    name = "relation"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        layer, boxes = self.config.layer, batch.truth.boxes
        student = batch.student.features[layer.student].float()
        teacher = batch.teacher.features[layer.teacher].float()
        boxes_here = torch.tensor(sum(len(entry) for entry in boxes), device=student.device)
        loss = relation_loss(student, teacher, boxes, self.grid, self.config.points)
        return TermValue(self.config.weight * loss / batch.processes.shared_count(boxes_here))


def keypoints(boxes: Boxes, points: int) -> np.ndarray:
    """Metric x, y (N, points * points, 2) of a raster over each box, from its rear right to its front left corner.

    Three points along each side are the corners, the middles of the sides, and the centre.
    """
    share = np.linspace(-0.5, 0.5, points)
    along, across = (axis.reshape(1, -1) for axis in np.meshgrid(share, share, indexing="ij"))
    forward, left = along * boxes.size[:, :1], across * boxes.size[:, 1:2]
    cos, sin = np.cos(boxes.yaw)[:, None], np.sin(boxes.yaw)[:, None]
    return np.stack([cos * forward - sin * left, sin * forward + cos * left], axis=-1) + boxes.center[:, None, :2]


def keypoint_features(features: Tensor, boxes: Sequence[Boxes], grid: BevGrid, points: int) -> Tensor:
    """Bilinear samples (K, points * points, C) of features (B, C, rows, columns) at the keypoints of all rigs' K boxes.

    Outside the grid the nearest edge counts.
    """
    corner, extent = (grid.x_min, grid.y_min), (grid.x_max - grid.x_min, grid.y_max - grid.y_min)
    sampled = []
    for rig, entry in enumerate(boxes):
        place = (keypoints(entry, points) - corner) / extent * 2.0 - 1.0
        place = torch.from_numpy(place.astype(np.float32)).to(features.device)[None]  # (1, K, points^2, 2)
        sampled.append(
            functional.grid_sample(features[rig : rig + 1], place, padding_mode="border", align_corners=False)[0]
        )
    return torch.cat(sampled, dim=1).permute(1, 2, 0)


def gram(samples: Tensor) -> Tensor:
    """Cosines (K, points, points) between the features of each object's keypoints (K, points, C)."""
    directions = functional.normalize(samples, dim=2)
    return directions @ directions.transpose(1, 2)


def relation_loss(student: Tensor, teacher: Tensor, boxes: Sequence[Boxes], grid: BevGrid, points: int) -> Tensor:
    """Squared differences of the Gram matrices of features (B, C, rows, columns): the mean over each box's, summed.

    The two sides may differ in C and resolution. Without boxes the loss is 0.
    """
    of_student = gram(keypoint_features(student, boxes, grid, points))
    of_teacher = gram(keypoint_features(teacher, boxes, grid, points))
    return (of_student - of_teacher).square().sum() / points**4
