"""Boxes on the cells that they cover, and what a cell knows of its box."""

from dataclasses import replace

import numpy as np
import torch
from support.distillation import GRID, box, random_boxes

from kd_perception.geometry.boxes import Boxes
from kd_training.data.painted_boxes import paint_boxes

ROWS, COLUMNS = GRID.shape


def test_every_cell_points_to_its_boxs_centre():
    boxes = random_boxes(0, 12)
    painted = paint_boxes([Boxes.empty(), boxes], GRID)
    rig, cell = np.divmod(painted.place.numpy(), ROWS * COLUMNS)
    row, column = np.divmod(cell, COLUMNS)
    assert set(rig) == {1}
    centre = GRID.to_metres(np.stack([column, row], axis=1) + 0.5 + painted.geometry[:, :2].numpy())
    distance = np.hypot(*(centre[:, None] - boxes.center[None, :, :2]).transpose(2, 0, 1))
    owner = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-4 and set(owner) == set(range(len(boxes)))
    assert np.array_equal(painted.label, boxes.label[owner])
    np.testing.assert_allclose(np.exp(painted.geometry[:, 3:6]), boxes.size[owner], rtol=1e-5)
    np.testing.assert_allclose(np.arctan2(*painted.geometry[:, 6:8].T.numpy()), boxes.yaw[owner], atol=1e-5)


def test_boxes_outside_are_left_out_and_unknown_velocities_are_none():
    unknown = replace(box(0.0, 0.0, 2.0, 2.0), velocity=np.full((1, 2), np.nan))
    painted = paint_boxes([Boxes.concatenate([unknown, box(50.0, 0.0, 4.0, 2.0)])], GRID)
    assert torch.isfinite(painted.geometry).all() and (painted.geometry[:, 8:] == 0.0).all()
    assert len(painted.place) == 4
