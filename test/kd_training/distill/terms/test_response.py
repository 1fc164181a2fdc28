"""Imitation of predictions: where the quality focal loss has its minimum, and whose codes the boxes' term compares."""

import math

import pytest
import torch
from support.distillation import STUDENT_CHANNELS, TEACHER_CHANNELS, make_ground_truth, random_boxes, random_outputs
from torch import Tensor

from kd_perception.student.box_codes import AXIS
from kd_training.batches.processes import ALONE
from kd_training.config.distill import ResponseConfig
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.terms.response import BoxTerm, HeatmapTerm, heatmap_response
from kd_training.distill.terms.term import ComparedBatch

TRUTH = make_ground_truth([random_boxes(0, 6), random_boxes(1, 3)])
ONES = torch.ones(len(TRUTH.classes))
STUDENT, TEACHER = random_outputs(0, 2, STUDENT_CHANNELS), random_outputs(1, 2, TEACHER_CHANNELS)


def one_cell(logit: float, target: float) -> float:
    """The loss of one cell of the cars' heatmap; all others agree exactly."""
    logits = torch.full_like(TRUTH.heatmap, -4.0)
    targets = torch.sigmoid(logits)
    logits[0, 0, 3, 4], targets[0, 0, 3, 4] = logit, target
    return heatmap_response(logits, targets, ONES).item()


def heatmap_term(student: Tensor, teacher: Tensor, *, within_truth: bool) -> float:
    """The term of two maps of logits."""
    batch = ComparedBatch(STUDENT._replace(heatmap=student), TEACHER._replace(heatmap=teacher), TRUTH, ALONE, {})
    return HeatmapTerm(ResponseConfig(heatmap=1.0, within_truth=within_truth))(batch).loss.item()


def box_term(student: Tensor, truth: GroundTruth = TRUTH) -> float:
    """The term of the student's box codes against those of TEACHER."""
    batch = ComparedBatch(STUDENT._replace(regression=student), TEACHER, truth, ALONE, {})
    return BoxTerm(ResponseConfig(boxes=1.0))(batch).loss.item()


def test_a_cell_costs_what_the_formula_says():
    p, t = 0.3, 0.8
    entropy = -(t * math.log(p) + (1.0 - t) * math.log(1.0 - p))
    assert one_cell(math.log(p / (1.0 - p)), t) == pytest.approx((p - t) ** 2 * entropy, rel=1e-5)


@pytest.mark.parametrize("target", [0.03, 0.3, 0.9])
def test_minimum_is_at_the_teachers_probability(target):
    best = math.log(target / (1.0 - target))
    values = [one_cell(best + shift, target) for shift in (-2.0, -0.5, -0.1, 0.0, 0.1, 0.5, 2.0)]
    assert values[3] == pytest.approx(0.0, abs=1e-9)
    assert values[0] > values[1] > values[2] > values[3] < values[4] < values[5] < values[6]


def test_gradient_agrees_with_finite_differences():
    logits = torch.full_like(TRUTH.heatmap, -4.0).requires_grad_()
    targets = torch.sigmoid(logits.detach())
    targets[0, 0, 3, 4] = 0.7
    heatmap_response(logits, targets, ONES).backward()
    slope = (one_cell(-4.0 + 1e-2, 0.7) - one_cell(-4.0 - 1e-2, 0.7)) / 2e-2
    assert logits.grad[0, 0, 3, 4].item() == pytest.approx(slope, rel=1e-3)


def test_within_the_ground_truth_a_teachers_false_positive_is_not_imitated():
    assert TRUTH.heatmap[0, 0, 0, 0] == 0.0
    quiet, sure = torch.full_like(TRUTH.heatmap, -9.0), torch.full_like(TRUTH.heatmap, -9.0)
    sure[0, 0, 0, 0] = 5.0
    assert heatmap_term(quiet, sure, within_truth=True) < 1e-3
    assert heatmap_term(quiet, sure, within_truth=False) > 0.5


def test_boxes_are_compared_at_true_centres_only():
    where = TRUTH.objects.rig, TRUTH.objects.group, slice(None), TRUTH.objects.row, TRUTH.objects.column
    assert box_term(STUDENT.regression) > 1.0
    alike = STUDENT.regression.clone()
    alike[where] = TEACHER.regression[where]
    assert box_term(alike) == pytest.approx(0.0, abs=1e-5)
    faster = alike.clone()
    faster[where] += torch.tensor([0.0] * 10 + [1.0 / AXIS.velocity_unit] * 2)
    groups_there = len(set(TRUTH.objects.group.tolist()))
    assert box_term(faster) == pytest.approx(2 * ResponseConfig().velocity * groups_there, rel=1e-4)


def test_unknown_true_velocities_do_not_matter():
    codes = TRUTH.codes.clone()
    codes[:, AXIS.velocities] = float("nan")
    assert box_term(STUDENT.regression) == box_term(STUDENT.regression, TRUTH._replace(codes=codes)) > 1.0
