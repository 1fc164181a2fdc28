"""How far predicted boxes are from overlapping the true ones: distance-IoU (arXiv:1911.08287), in three dimensions."""

import torch
from torch import Tensor

from kd_perception.student.box_codes import MAX_LOG_SIZE, BoxCoding, Heading
from kd_training.data.ground_truth import GroundTruth


def overlap_loss(regression: Tensor, truth: GroundTruth, count: Tensor) -> Tensor:
    """The sum over objects of `distance_iou_loss` of codes (B, groups, codes, rows, columns) at their centres, divided
    by the objects of their group; `count` (groups,)."""
    loss = distance_iou_loss(truth.objects.of(regression), truth.codes, truth.coding, truth.cell_size)
    loss = loss / count[truth.objects.group]
    return (loss if truth.trust is None else loss * truth.trust.objects).sum()


def distance_iou_loss(outputs: Tensor, targets: Tensor, coding: BoxCoding, cell_size: float) -> Tensor:
    """1 - IoU + d^2 / c^2 (K,), from 0 to 2, of outputs and targets (K, codes); `cell_size` in metres.

    d is the distance of the centres, c the diagonal of the box around both. Both boxes are seen in the true one's axes:
    the predicted heading counts as the true one, since the codes' own errors teach it. Boxes that do not touch still
    have a gradient, which moves the centre and fits the size.
    """
    outputs, targets = outputs.float(), targets.float()
    offset = _in_true_axes(outputs[:, :3] - targets[:, :3], targets, coding, cell_size)
    given, wanted = (codes[:, 3:6].clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE).exp() for codes in (outputs, targets))
    low, high = offset - given / 2.0, offset + given / 2.0
    shared = (torch.minimum(high, wanted / 2.0) - torch.maximum(low, -wanted / 2.0)).clamp(min=0.0).prod(dim=1)
    around = torch.maximum(high, wanted / 2.0) - torch.minimum(low, -wanted / 2.0)
    union = given.prod(dim=1) + wanted.prod(dim=1) - shared
    return 1.0 - shared / union + offset.square().sum(dim=1) / around.square().sum(dim=1)


def _in_true_axes(offset: Tensor, targets: Tensor, coding: BoxCoding, cell_size: float) -> Tensor:
    """Offsets (K, 3) of dx, dy in cells and z in metres, along length, width and height of the true boxes, in metres.

    A class without a heading (NaN) is taken as it stands on the grid.
    """
    first, second = targets[:, coding.headings].unbind(1)[:2]
    if coding.heading is Heading.vector:
        sin, cos = first, second
    else:
        half = torch.atan2(first, second) / 2.0  # the axis: which of its two ends is ahead does not count
        sin, cos = half.sin(), half.cos()
    known = torch.isfinite(sin)
    sin, cos = torch.where(known, sin, 0.0), torch.where(known, cos, 1.0)
    dx, dy, dz = (offset * offset.new_tensor([cell_size, cell_size, 1.0])).unbind(1)
    return torch.stack([cos * dx + sin * dy, cos * dy - sin * dx, dz], dim=1)
