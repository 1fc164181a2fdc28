"""Imitation of answers: a quality focal loss on heatmaps (arXiv:2006.04388) and L1 on box codes at true centres."""

import torch
from torch import Tensor
from torch.nn import functional

from kd_training.data.ground_truth import GroundTruth
from kd_training.losses.detection import box_loss, of_classes


def heatmap_response(logits: Tensor, teacher: Tensor, truth: GroundTruth, within_truth: bool, count: Tensor) -> Tensor:
    """|p - t|^2 BCE(p, t) of heatmap logits (B, 10, rows, columns), with t the teacher's probability, or `within_truth`
    its product with the true heatmap; count (groups,) as of the heatmap's own loss.

    Its minimum is p = t (a Gaussian focal loss with soft targets has it at 0).
    """
    target = torch.sigmoid(teacher.float())
    if within_truth:
        target = target * truth.heatmap
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (torch.sigmoid(logits) - target).square() * entropy
    return (loss.sum(dim=(0, 2, 3)) / of_classes(count)).sum()


def box_response(
    regression: Tensor, teacher: Tensor, truth: GroundTruth, velocity_weight: float, count: Tensor
) -> Tensor:
    """L1 of box codes (B, groups, 10, rows, columns) to the teacher's, where the truth has objects; count (groups,) as
    of the boxes' own loss."""
    objects = truth.objects
    codes = teacher[objects["rig"], objects["group"], :, objects["row"], objects["column"]].float()
    return box_loss(regression, truth._replace(codes=codes), velocity_weight, count)
