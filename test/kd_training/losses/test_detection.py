"""Losses on cases with known values."""

import math

import pytest
import torch

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES
from kd_perception.student.box_codes import VECTOR
from kd_training.batches.processes import TrainingProcesses
from kd_training.data.ground_truth import GroundTruth, ObjectCells
from kd_training.losses.detection import box_loss, depth_loss, heatmap_loss, object_counts, of_classes

ONE = torch.ones(len(NUSCENES.groups))
ONES = of_classes(ONE, NUSCENES)


def make_ground_truth(codes: torch.Tensor, group: list[int]) -> GroundTruth:
    count = len(group)
    rig, cell = torch.zeros(count, dtype=torch.int64), torch.arange(count)
    objects = ObjectCells(rig, torch.tensor(group), cell, cell)
    return GroundTruth(torch.zeros(0), objects, codes, boxes=(Boxes.empty(),), coding=VECTOR, cell_size=0.8)


def test_focal_loss_of_one_positive_and_one_negative():
    target = torch.zeros(1, 10, 1, 2)
    target[0, 0, 0, 0] = 1.0
    logits = torch.full((1, 10, 1, 2), -100.0)
    logits[0, 0, 0, 0] = math.log(0.25 / 0.75)
    logits[0, 0, 0, 1] = math.log(0.2 / 0.8)
    expected = -(0.75**2) * math.log(0.25) - 0.2**2 * math.log(0.8)
    assert heatmap_loss(logits, target, ONES).item() == pytest.approx(expected, rel=1e-5)


def test_near_a_centre_negatives_count_less():
    logits = torch.zeros(1, 10, 1, 1)
    far, near = torch.zeros(1, 10, 1, 1), torch.full((1, 10, 1, 1), 0.5)
    assert heatmap_loss(logits, near, ONES).item() == pytest.approx(
        0.5**4 * heatmap_loss(logits, far, ONES).item(), rel=1e-5
    )


def test_each_group_is_normalised_by_its_own_objects():
    target = torch.zeros(1, 10, 1, 1)
    logits = torch.full((1, 10, 1, 1), -100.0)
    logits[0, 0] = 0.0  # group 0 (car) alone has a loss
    one, two, others = (
        heatmap_loss(
            logits, target, of_classes(object_counts(make_ground_truth(torch.zeros(len(group), 10), group)), NUSCENES)
        ).item()
        for group in ([0], [0, 0], [5, 5, 5])
    )
    assert two == pytest.approx(one / 2.0) and others == pytest.approx(one)


def test_box_loss_ignores_unknown_velocity_and_weighs_known_ones():
    codes = torch.zeros(2, 10)
    codes[0, 8:] = float("nan")
    codes[1, 8:] = 2.0
    regression = torch.zeros(1, len(NUSCENES.groups), 10, 4, 4)
    regression[0, 0, 0, 0, 0] = 3.0
    regression.requires_grad_()
    loss = box_loss(regression, make_ground_truth(codes, [0, 1]), 0.2, ONE)
    assert loss.item() == pytest.approx(3.0 + 0.2 * 4.0)
    loss.backward()
    assert torch.isfinite(regression.grad).all()


def test_sums_of_two_processes_are_divided_by_the_objects_of_both():
    ours, theirs = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([1.0, 2.0, 0.0])
    shared = TrainingProcesses(2, lambda counts: (counts + theirs) / 2.0).shared_count(ours)
    assert torch.equal(2.0 * shared, torch.tensor([4.0, 2.0, 1.0]))  # the mean over two of sum / shared: sum / count


def test_depth_loss_counts_labelled_pixels_only():
    logits = torch.zeros(1, 8, 1, 3)
    labels = torch.tensor([[[2, -1, -1]]])
    assert depth_loss(logits, labels).item() == pytest.approx(math.log(8.0))
    assert depth_loss(logits, torch.full((1, 1, 3), -1)).item() == 0.0
