"""Imitation of answers: where the quality focal loss has its minimum, and whose codes the boxes' term compares."""

import math

import pytest
import torch
from support.distillation import STUDENT_CHANNELS, TEACHER_CHANNELS, make_truth, random_boxes, random_outputs

from kd_training.distill.terms.response import box_response, heatmap_response
from kd_training.losses.detection import object_counts

TRUTH = make_truth([random_boxes(0, 6), random_boxes(1, 3)])
COUNT = object_counts(TRUTH)


def one_cell(logit: float, target: float) -> float:
    """The loss of one cell of the cars' heatmap; all others agree exactly."""
    logits = torch.full_like(TRUTH.heatmap, -4.0)
    teacher = logits.clone()
    logits[0, 0, 3, 4], teacher[0, 0, 3, 4] = logit, math.log(target / (1.0 - target))
    return heatmap_response(logits, teacher, TRUTH, False, torch.ones_like(COUNT)).item()


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
    teacher = torch.full_like(TRUTH.heatmap, -4.0)
    teacher[0, 0, 3, 4] = 1.0
    heatmap_response(logits, teacher, TRUTH, False, torch.ones_like(COUNT)).backward()
    target = 1.0 / (1.0 + math.exp(-1.0))
    slope = (one_cell(-4.0 + 1e-2, target) - one_cell(-4.0 - 1e-2, target)) / 2e-2
    assert logits.grad[0, 0, 3, 4].item() == pytest.approx(slope, rel=1e-3)


def test_within_truth_a_teachers_false_positive_is_not_imitated():
    assert TRUTH.heatmap[0, 0, 0, 0] == 0.0
    quiet, sure = torch.full_like(TRUTH.heatmap, -9.0), torch.full_like(TRUTH.heatmap, -9.0)
    sure[0, 0, 0, 0] = 5.0
    assert heatmap_response(quiet, sure, TRUTH, True, COUNT).item() < 1e-3
    assert heatmap_response(quiet, sure, TRUTH, False, COUNT).item() > 0.5


def test_boxes_are_compared_at_true_centres_only():
    student, teacher = random_outputs(0, 2, STUDENT_CHANNELS), random_outputs(1, 2, TEACHER_CHANNELS)
    where = TRUTH.objects["rig"], TRUTH.objects["group"], slice(None), TRUTH.objects["row"], TRUTH.objects["column"]
    assert box_response(student.regression, teacher.regression, TRUTH, 0.2, COUNT).item() > 1.0
    alike = student.regression.clone()
    alike[where] = teacher.regression[where]
    assert box_response(alike, teacher.regression, TRUTH, 0.2, COUNT).item() == 0.0
    faster = alike.clone()
    faster[where] += torch.tensor([0.0] * 8 + [1.0, 1.0])
    groups_there = len(set(TRUTH.objects["group"].tolist()))
    assert box_response(faster, teacher.regression, TRUTH, 0.2, COUNT).item() == pytest.approx(
        0.4 * groups_there, rel=1e-4
    )


def test_unknown_true_velocities_do_not_matter():
    student, teacher = random_outputs(0, 2, STUDENT_CHANNELS), random_outputs(1, 2, TEACHER_CHANNELS)
    codes = TRUTH.codes.clone()
    codes[:, 8:] = float("nan")
    losses = [
        box_response(student.regression, teacher.regression, truth, 0.2, COUNT).item()
        for truth in (TRUTH, TRUTH._replace(codes=codes))
    ]
    assert losses[0] == losses[1]
