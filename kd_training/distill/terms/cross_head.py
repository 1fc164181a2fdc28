"""Cross-head distillation (CrossKD, arXiv:2306.11369): the student's features pass through the teacher's frozen head.

What comes out there is to be the teacher's answer. The student's own head hears the truth alone: no contradiction
between teacher and truth reaches it.
"""

from torch import nn

from kd_training.config.distill import CrossHeadConfig, LayerPair
from kd_training.distill.adapters import build_adapter
from kd_training.distill.fit import Side
from kd_training.distill.terms.response import imitated_boxes, imitated_heatmap
from kd_training.distill.terms.term import ComparedBatch, TermValue
from kd_training.models.center_head import PRE_HEAD


class CrossHeadTerm(nn.Module):
    """L = weight  (imitated heatmap + `boxes` x imitated box codes), as the terms of the response, but of what the
    teacher's head makes of the student's features before its own."""

    name = "cross_head"

    def __init__(self, config: CrossHeadConfig, student: Side, teacher: Side) -> None:
        """The teacher's head must be frozen and in evaluation mode: it is no part of this module."""
        super().__init__()
        self.config, self.teacher = config, teacher
        pair = LayerPair(PRE_HEAD, PRE_HEAD)
        self.adapter = build_adapter(pair, student.channels[PRE_HEAD], teacher.channels[PRE_HEAD])

    def forward(self, batch: ComparedBatch) -> TermValue:
        """The scalar loss alone."""
        shape = tuple(batch.teacher.heatmap.shape[2:])
        heatmap, regression = self.teacher.head(self.adapter(batch.student.features[PRE_HEAD], shape))
        coding = self.teacher.head.coding
        boxes = imitated_boxes(regression, batch, self.config.velocity, coding)
        loss = imitated_heatmap(heatmap, batch) + self.config.boxes * boxes
        return TermValue(self.config.weight * loss)
