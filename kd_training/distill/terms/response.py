"""Imitation of predictions: a quality focal loss on heatmaps (arXiv:2006.04388), box codes at true centres."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kd_perception.student.box_codes import BoxCoding
from kd_training.config.distill import ResponseConfig
from kd_training.distill.terms.term import ComparedBatch, TermValue
from kd_training.losses.box_codes import as_targets
from kd_training.losses.detection import box_loss


@dataclass(frozen=True)
class HeatmapTerm:
    """L = weight  sum_cells,classes |p - t|^2 BCE(p, t) / objects of the class's group.

    The target t is the teacher's probability H_T, or with `within_truth` its product with the true heatmap H_GT. Cells
    in doubt (Trust) do not count.
    """

    config: ResponseConfig
    name = "response/heatmap"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        loss = imitated_heatmap(batch.student.heatmap, batch, within_truth=self.config.within_truth)
        return TermValue(self.config.heatmap * loss)


@dataclass(frozen=True)
class BoxTerm:
    """L = weight  errors of the box codes from the teacher's at true centres / objects of the group."""

    config: ResponseConfig
    name = "response/boxes"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        loss = imitated_boxes(batch.student.regression, batch, self.config.velocity, batch.truth.coding)
        return TermValue(self.config.boxes * loss)


def imitated_heatmap(logits: Tensor, batch: ComparedBatch, *, within_truth: bool = False) -> Tensor:
    """`heatmap_response` of logits (B, classes, rows, columns) against the teacher's heatmap."""
    target = torch.sigmoid(batch.teacher.heatmap.float())
    if within_truth:
        target = target * batch.truth.heatmap
    trust = batch.truth.trust
    return heatmap_response(logits, target, batch.class_counts, None if trust is None else trust.known)


def imitated_boxes(regression: Tensor, batch: ComparedBatch, velocity: float, coding: BoxCoding) -> Tensor:
    """Errors of codes (B, groups, codes, rows, columns) from the teacher's at true centres / objects of the group.

    `velocity` weighs its codes; `coding` is that of the regression and of the teacher.
    """
    truth = batch.truth
    codes = as_targets(truth.objects.of(batch.teacher.regression).float(), coding)
    if coding == truth.coding:
        headings = coding.headings  # NaN where the class has none: nobody taught the teacher one
        codes[:, headings] = torch.where(truth.codes[:, headings].isnan(), torch.nan, codes[:, headings])
    taught = truth._replace(codes=codes, coding=coding, trust=None)
    return box_loss(regression, taught, velocity, batch.object_counts)


def heatmap_response(logits: Tensor, target: Tensor, count: Tensor, cells: Tensor | None = None) -> Tensor:
    """|p - t|^2 BCE(p, t) of heatmap logits and target probabilities t, both (B, classes, rows, columns).

    `count` (classes,) and `cells` are those of the heatmap's own loss. The minimum lies at p = t; a Gaussian focal loss
    with soft targets has it at 0.
    """
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = (torch.sigmoid(logits) - target).square() * entropy
    loss = loss if cells is None else loss * cells
    return (loss.sum(dim=(0, 2, 3)) / count).sum()
