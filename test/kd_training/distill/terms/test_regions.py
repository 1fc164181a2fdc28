"""Where imitation counts: cells of turned boxes, forced cells, false positives, and what each region weighs."""

import numpy as np
import pytest
import torch
from support.distillation import GRID, box, random_boxes

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS
from kd_perception.student.decode import decode
from kd_training.config.distill import FeatureConfig
from kd_training.data.covered_cells import covered_cells
from kd_training.data.targets import detection_targets
from kd_training.distill.terms.regions import (
    BoxFootprints,
    box_footprints,
    false_positives,
    region_weights,
)

CPU = torch.device("cpu")


def cells_of(boxes: Boxes, shape: tuple[int, int] = GRID.shape) -> set[tuple[int, int]]:
    covered = covered_cells(boxes, GRID, shape)
    return set(zip(covered.row.tolist(), covered.column.tolist(), strict=True))


def test_length_is_along_x_at_yaw_zero_and_along_y_at_a_quarter_turn():
    # The centre is on the corner of cells (12, 16): 4 columns of 0.8 m lie within 1.6 m before and behind it.
    assert cells_of(box(0.0, 0.0, 3.2, 1.6)) == {(row, column) for row in (11, 12) for column in (14, 15, 16, 17)}
    assert cells_of(box(0.0, 0.0, 3.2, 1.6, np.pi / 2)) == {
        (row, column) for row in (10, 11, 12, 13) for column in (15, 16)
    }


def test_heading_turns_counter_clockwise():
    cells = cells_of(box(0.4, 0.4, 8.0, 0.4, np.pi / 4))  # x = y forwards: rows and columns rise together
    assert {(row - 12, column - 16) for row, column in cells} == {(i, i) for i in range(-3, 4)}


@pytest.mark.parametrize("shape", [GRID.shape, (12, 16), (48, 32)])
def test_covered_centres_lie_between_the_corners_of_their_box(shape):
    """Against the boxes' corners: a centre is inside where it is left of all four edges."""
    boxes = random_boxes(1, 60)
    rows, columns = shape
    x = GRID.x_min + (np.arange(columns) + 0.5) * (GRID.x_max - GRID.x_min) / columns
    y = GRID.y_min + (np.arange(rows) + 0.5) * (GRID.y_max - GRID.y_min) / rows
    centres = np.stack(np.meshgrid(x, y), axis=-1)
    forced = 0
    for index in range(len(boxes)):
        corners = boxes.corners()[index, 3::-1, :2]  # counter-clockwise
        edges = np.roll(corners, -1, axis=0) - corners
        away = centres[:, :, None] - corners
        inside = (edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0] >= 0).all(axis=-1)
        expected = set(zip(*(axis.tolist() for axis in np.nonzero(inside)), strict=True))
        if not expected:
            forced += 1
            scale = np.array([columns, rows]) / [GRID.x_max - GRID.x_min, GRID.y_max - GRID.y_min]
            column, row = np.floor((boxes.center[index, :2] - [GRID.x_min, GRID.y_min]) * scale).astype(int)
            expected = {(row, column)}
        assert cells_of(boxes[index : index + 1], shape) == expected
    assert forced > 0


def test_footprints_lie_where_targets_are_decoded_from():
    """Boxes -> targets -> boxes -> cells: the same cells, and the target's own cell among them."""
    boxes = random_boxes(2, 40)
    boxes = boxes[boxes.label != NUSCENES.label("traffic_cone")]  # no heading is learnt of a cone
    targets = detection_targets(boxes, GRID)
    for index in range(len(boxes)):
        alone = detection_targets(boxes[index : index + 1], GRID)
        regression = np.zeros((len(NUSCENES.groups), len(AXIS.names), *GRID.shape))
        regression[alone.group[0], :, alone.row[0], alone.column[0]] = alone.codes[0]
        found = decode(alone.heatmap, regression, GRID, 0.9)
        assert cells_of(found) == cells_of(boxes[index : index + 1])
        least = boxes.size[index, :2].min()
        if least > 1.2 or np.hypot(*boxes.size[index, :2]) < 0.8:  # wide enough to hold its centre's cell, or tiny
            assert (targets.row[index], targets.column[index]) in cells_of(found)


def test_a_cone_between_cell_centres_gets_the_cell_it_stands_in():
    cone = box(0.05, -0.05, 0.3, 0.3)
    assert cells_of(cone) == {(11, 16)}
    assert cells_of(cone, (12, 16)) == {(5, 8)}
    assert cells_of(box(12.79, 9.59, 0.1, 0.1)) == {(23, 31)}


def test_a_box_is_cut_at_the_border():
    assert cells_of(box(12.4, 9.2, 30.0, 1.0)) == {(23, column) for column in range(13, 32)}


def test_where_boxes_overlap_the_smaller_one_sets_the_scale():
    boxes = Boxes.concatenate([box(0.0, 0.0, 6.4, 3.2), box(0.4, 0.4, 0.8, 0.8), box(4.4, 0.4, 0.2, 0.2)])
    footprints = box_footprints([boxes, Boxes.empty()], GRID, GRID.shape, CPU)
    assert footprints.scale.dtype == torch.float32
    assert footprints.scale[0, 12, 16] == 1.0
    assert footprints.scale[0, 12, 15] == pytest.approx(1.0 / np.sqrt(8 * 4))
    assert footprints.scale[0, 12, 21] == 1.0  # a box smaller than a cell counts as one cell
    assert footprints.inside[0].sum() == 8 * 4 + 1 and not footprints.inside[1].any()
    coarse = box_footprints([boxes], GRID, (12, 16), CPU)
    assert coarse.scale[0, 5, 7] == pytest.approx(1.0 / np.sqrt(4 * 2))


def test_false_positives_are_sure_teachers_far_from_truth():
    teacher, truth = torch.zeros(1, len(CLASSES), 2, 4), torch.zeros(1, len(CLASSES), 2, 4)
    inside = torch.zeros(1, 2, 4, dtype=torch.bool)
    teacher[0, 3, 0, :3] = 0.5
    truth[0, 7, 0, 1] = 0.5  # of another class: still no false positive
    inside[0, 0, 2] = True
    teacher[0, 3, 1, 3] = 0.05
    found = false_positives(teacher, truth, inside, 0.1)
    assert found.nonzero().tolist() == [[0, 0, 0]]


def footprints_and_wrong() -> tuple[BoxFootprints, torch.Tensor]:
    """Two rigs: one with boxes and false positives, one with neither."""
    footprints = box_footprints([box(0.0, 0.0, 3.2, 1.6), Boxes.empty()], GRID, GRID.shape, CPU)
    wrong = torch.zeros(2, *GRID.shape, dtype=torch.bool)
    wrong[0, 0, :5] = True
    return footprints, wrong


def test_each_region_of_a_rig_weighs_what_the_formula_says():
    config = FeatureConfig()
    footprints, wrong = footprints_and_wrong()
    weights = region_weights(footprints, wrong, config)
    assert torch.isfinite(weights).all()
    alpha, beta, eta = config.foreground, config.background, config.false_positive
    assert weights[0, 12, 16].item() == pytest.approx(alpha / np.sqrt(8.0))
    assert weights[0][wrong[0]].sum().item() == pytest.approx(alpha * eta)
    assert weights[0][~wrong[0] & ~footprints.inside[0]].sum().item() == pytest.approx(beta, rel=1e-4)
    assert weights[1].sum().item() == pytest.approx(beta, rel=1e-4)  # nothing but background


def test_at_other_layers_false_positives_are_background():
    config = FeatureConfig()
    footprints, wrong = footprints_and_wrong()
    weights = region_weights(footprints, None, config)
    assert weights[0][~footprints.inside[0]].unique().numel() == 1
    assert weights[0][wrong[0]][0].item() == pytest.approx(config.background / (GRID.shape[0] * GRID.shape[1] - 8))


def test_without_scale_every_cell_of_a_region_weighs_the_same():
    config = FeatureConfig(scale=False)
    footprints, wrong = footprints_and_wrong()
    weights = region_weights(footprints, wrong, config)
    assert weights[footprints.inside].unique().tolist() == [pytest.approx(config.foreground)]
    assert weights[wrong].unique().tolist() == [pytest.approx(config.foreground * config.false_positive)]
    assert weights[1].unique().tolist() == [pytest.approx(config.background)]


def test_a_quarter_turn_of_the_world_turns_the_mask():
    grid = BevGrid(-8.0, 8.0, -8.0, 8.0, 0.8)
    boxes = random_boxes(3, 20)
    boxes = boxes[np.abs(boxes.center[:, :2]).max(axis=1) < 8.0]
    turn = np.eye(4)
    turn[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    before = box_footprints([boxes], grid, grid.shape, CPU).inside[0]
    after = box_footprints([boxes.transformed(turn)], grid, grid.shape, CPU).inside[0]
    assert 0 < before.sum() < before.numel()
    # x becomes y: columns become rows; y becomes -x: rows become columns, backwards.
    assert torch.equal(after, before.T.flip(1))
