"""Imitation of relations: where keypoints lie, what is sampled there, and what the Gram matrices do not see."""

import numpy as np
import pytest
import torch
from support.distillation import GRID, box, random_boxes

from kd_perception.geometry.boxes import Boxes
from kd_training.distill.terms.relation import gram, keypoint_features, keypoints, relation_loss


def coordinates(shape: tuple[int, int]) -> torch.Tensor:
    """Features (1, 2, rows, columns) that are the cell centres' x and y in metres."""
    rows, columns = shape
    x = GRID.x_min + (torch.arange(columns) + 0.5) * (GRID.x_max - GRID.x_min) / columns
    y = GRID.y_min + (torch.arange(rows) + 0.5) * (GRID.y_max - GRID.y_min) / rows
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


def test_nine_keypoints_are_corners_middles_and_centre():
    boxes = random_boxes(0, 5)
    points = keypoints(boxes, 3)
    corners = boxes.corners()[:, :4, :2]  # front left, front right, rear right, rear left
    np.testing.assert_allclose(points[:, [8, 6, 0, 2]], corners, atol=1e-9)
    np.testing.assert_allclose(points[:, 4], boxes.center[:, :2], atol=1e-9)
    np.testing.assert_allclose(points[:, 7], corners[:, :2].mean(axis=1), atol=1e-9)


@pytest.mark.parametrize("shape", [GRID.shape, (12, 16)])
def test_features_are_sampled_at_metric_places(shape):
    boxes = [box(3.0, -2.0, 4.0, 2.0, 0.7), Boxes.empty(), box(-5.1, 4.2, 1.0, 0.5, -2.0)]
    found = keypoint_features(coordinates(shape).expand(3, -1, -1, -1), boxes, GRID, 4)
    expected = keypoints(Boxes.concatenate(boxes), 4)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_gram_sees_directions_not_lengths_or_channels():
    samples = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0))
    cosines = gram(samples)
    torch.testing.assert_close(cosines.diagonal(dim1=1, dim2=2), torch.ones(3, 9))
    torch.testing.assert_close(gram(4.0 * torch.cat([samples, samples], dim=2)), cosines)


def test_loss_is_zero_for_scaled_features_and_grows_with_differences():
    boxes = [random_boxes(1, 4), Boxes.empty()]
    teacher = torch.rand(2, 5, *GRID.shape, generator=torch.Generator().manual_seed(1))
    other = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(2))
    assert relation_loss(3.0 * teacher, teacher, boxes, GRID, 3).item() == pytest.approx(0.0, abs=1e-10)
    assert relation_loss(other, teacher, boxes, GRID, 3).item() > 1e-3


def test_a_box_beyond_the_border_and_a_scene_without_boxes_are_legal():
    student = torch.zeros(1, 3, *GRID.shape, requires_grad=True)  # nothing is like nothing: cosines of zeros
    teacher = torch.rand(1, 5, *GRID.shape)
    for boxes in ([box(12.7, 9.5, 12.0, 3.0, 0.5)], [Boxes.empty()]):
        loss = relation_loss(student, teacher, boxes, GRID, 3)
        (slope,) = torch.autograd.grad(loss, student)
        assert torch.isfinite(loss) and torch.isfinite(slope).all()
    assert loss.item() == 0.0
