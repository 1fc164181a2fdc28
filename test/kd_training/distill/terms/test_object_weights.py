"""Weights of objects: small and far ones count more, in their turned boxes; overlaps and empty scenes are legal."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.distillation import GRID, box, random_boxes

from kd_perception.geometry.boxes import Boxes
from kd_training.batches.processes import ALONE
from kd_training.config.distill import LayerPair
from kd_training.config.feature_terms import ObjectWeightsConfig
from kd_training.distill.terms.object_weights import ObjectWeightTerm, object_weights
from kd_training.distill.terms.regions import painted
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch

CONFIG = ObjectWeightsConfig(weight=3.0)
CAR, PEDESTRIAN = (4.6, 1.9), (0.7, 0.7)


def loss(student: torch.Tensor, teacher: torch.Tensor, *boxes: Boxes) -> torch.Tensor:
    term = ObjectWeightTerm(LayerPair("half", "block1"), CONFIG, GRID)
    layers = {"half": AdaptedLayer(student, teacher)}
    return term(ComparedBatch(None, None, SimpleNamespace(boxes=boxes), ALONE, layers)).loss


def test_small_and_far_objects_count_more():
    boxes = Boxes.concatenate([box(2.0, 1.0, *CAR), box(2.0, -1.0, *PEDESTRIAN), box(9.0, 6.0, *PEDESTRIAN)])
    car, pedestrian, far = object_weights([boxes], GRID, CONFIG)
    assert car < pedestrian < far
    same = object_weights([Boxes.concatenate([box(2.0, 1.0, *CAR)] * 3)], GRID, CONFIG)
    np.testing.assert_allclose(same, 0.5 * (1.0 + np.hypot(2.0, 1.0) / np.hypot(12.8, 9.6)))


def test_weights_are_of_the_formula_and_a_turn_of_the_scene_changes_none():
    boxes = random_boxes(3, 30)
    volume, distance = boxes.size.prod(axis=1), np.hypot(*boxes.center[:, :2].T)
    ratio = np.median(volume) / volume  # the sigmoid of its logarithm, taken half as large
    expected = ratio**0.5 / (1.0 + ratio**0.5) * (1.0 + 2.0 * distance / 16.0)
    config = ObjectWeightsConfig(weight=1.0, spread=2.0, distance=2.0)
    np.testing.assert_allclose(object_weights([boxes], GRID, config), expected, rtol=0.05)
    turned = boxes.transformed(np.array([[0.6, -0.8, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    np.testing.assert_allclose(object_weights([turned], GRID, config), object_weights([boxes], GRID, config))
    split = object_weights([boxes[:10], Boxes.empty(), boxes[10:]], GRID, config)
    np.testing.assert_allclose(split, object_weights([boxes], GRID, config))


def test_where_boxes_overlap_the_largest_counts_not_the_sum():
    boxes = Boxes.concatenate([box(0.4, 0.4, 6.0, 6.0), box(0.4, 0.4, 0.7, 0.7), box(0.4, 0.4, 3.0, 3.0)])
    raster = painted(np.array([0.1, 0.9, 0.3]), [boxes], GRID, GRID.shape)
    assert raster[0, 12, 16] == pytest.approx(0.9) and raster[0, 13, 16] == pytest.approx(0.3)
    assert raster[0, 15, 16] == pytest.approx(0.1) and set(np.unique(raster).round(2)) == set(
        np.float32([0.0, 0.1, 0.3, 0.9])
    )


def test_what_differs_outside_of_all_boxes_costs_nothing():
    teacher = torch.rand(2, 3, *GRID.shape, generator=torch.Generator().manual_seed(0))
    student, boxes = teacher.clone(), (box(2.0, 2.0, *CAR, 0.7), Boxes.empty())
    student[0, :, :6] += 1.0
    student[1] += 1.0
    assert loss(student, teacher, *boxes).item() == 0.0
    student[0] = teacher[0] + 2.0
    torch.testing.assert_close(loss(student, teacher, *boxes), torch.tensor(3.0 * 4.0))  # a mean over the boxes' cells


def test_a_scene_without_objects_has_no_loss_and_a_gradient_of_zero():
    student = torch.rand(1, 3, *GRID.shape, requires_grad=True)
    value = loss(student, torch.zeros(1, 3, *GRID.shape), Boxes.empty())
    value.backward()
    assert value.item() == 0.0 and not student.grad.any()
