"""Decoding: boxes survive encode and decode; peaks, thresholds and circle NMS by known cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import wrap_angle
from kd_perception.student.box_codes import AXIS
from kd_perception.student.decode import decode

GRID = BevGrid(-51.2, 51.2, -51.2, 51.2, 0.8)


def maps(boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """A perfect student's outputs: each box's score and codes in the cell that holds its centre."""
    heatmap = np.zeros((len(CLASSES), *GRID.shape), np.float32)
    regression = np.zeros((len(NUSCENES.groups), len(AXIS.names), *GRID.shape), np.float32)
    columns, rows = np.floor(GRID.to_cells(boxes.center[:, :2])).astype(int).T
    heatmap[boxes.label, rows, columns] = boxes.score
    regression[NUSCENES.group_of_label[boxes.label], :, rows, columns] = AXIS.encode(boxes, rows, columns, GRID)
    return heatmap, regression


def make_boxes(xy: list[tuple[float, float]], names: list[str], scores: list[float]) -> Boxes:
    count = len(xy)
    return Boxes(
        center=np.column_stack([np.array(xy), np.full(count, 0.7)]),
        size=np.tile([4.5, 1.9, 1.6], (count, 1)),
        yaw=np.linspace(-3.0, 3.0, count),
        velocity=np.tile([3.0, -1.0], (count, 1)),
        label=np.array([CLASSES.index(name) for name in names]),
        score=np.array(scores),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_decode_inverts_encode(seed: int):
    rng = np.random.default_rng(seed)
    cells = rng.choice(16 * 16, 30, replace=False)  # blocks of 6.4 m, so that no two suppress each other
    corner = np.column_stack([cells % 16, cells // 16]) * 6.4 - 51.2
    truth = Boxes(
        center=np.column_stack([corner + rng.uniform(1.7, 4.7, (30, 2)), rng.uniform(-3, 3, 30)]),
        size=rng.uniform(0.3, 15.0, (30, 3)),
        yaw=rng.uniform(-np.pi, np.pi, 30),
        velocity=rng.uniform(-15, 15, (30, 2)),
        label=rng.integers(0, len(CLASSES), 30),
        score=rng.permutation(np.linspace(0.2, 0.95, 30)),
    )
    found = decode(*maps(truth), GRID, score_threshold=0.1)
    truth = truth[np.argsort(-truth.score)]
    assert len(found) == 30
    np.testing.assert_allclose(found.center, truth.center, atol=1e-5)
    np.testing.assert_allclose(found.size, truth.size, rtol=1e-5)
    np.testing.assert_allclose(wrap_angle(found.yaw - truth.yaw), 0.0, atol=1e-6)
    np.testing.assert_allclose(found.velocity, truth.velocity, atol=1e-5)
    np.testing.assert_array_equal(found.label, truth.label)
    np.testing.assert_allclose(found.score, truth.score, atol=1e-6)


def test_rows_are_y_and_columns_are_x():
    heatmap, regression = maps(make_boxes([(20.0, -30.0)], ["car"], [0.8]))
    (row,), (column,) = np.nonzero(heatmap[0])
    assert (row, column) == (int((-30.0 + 51.2) / 0.8), int((20.0 + 51.2) / 0.8))
    np.testing.assert_allclose(decode(heatmap, regression, GRID, 0.1).center[0, :2], [20.0, -30.0], atol=1e-5)


def test_a_close_second_of_the_same_group_is_suppressed_by_the_better():
    """Radii are CenterPoint's: a truck (group radius 3.46 m) suppresses a construction vehicle 3 m away, not one 4 m
    away."""
    found = decode(
        *maps(
            make_boxes(
                [(0.0, 0.0), (3.0, 0.0), (0.0, 4.0)], ["truck", "construction_vehicle", "truck"], [0.5, 0.9, 0.4]
            )
        ),
        GRID,
        0.1,
    )
    assert [CLASSES[label] for label in found.label] == ["construction_vehicle", "truck"]
    np.testing.assert_allclose(found.center[:, :2], [[3.0, 0.0], [0.0, 4.0]], atol=1e-5)


def test_other_groups_do_not_suppress():
    found = decode(
        *maps(make_boxes([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], ["car", "pedestrian", "bicycle"], [0.9, 0.5, 0.4])),
        GRID,
        0.1,
    )
    assert len(found) == 3


def test_a_suppressed_box_suppresses_nobody():
    """Cars at 0, 1.8 and 3.6 m: the middle one falls to the first, and the last, 3.6 m from the first, stays."""
    found = decode(*maps(make_boxes([(0.0, 0.0), (1.8, 0.0), (3.6, 0.0)], ["car"] * 3, [0.9, 0.8, 0.7])), GRID, 0.1)
    np.testing.assert_allclose(found.center[:, 0], [0.0, 3.6], atol=1e-5)


@pytest.mark.parametrize("group", range(len(NUSCENES.groups)))
def test_every_group_s_radius_is_a_hard_edge(group: int):
    name, radius = NUSCENES.groups[group].classes[0].name, NUSCENES.groups[group].nms_radius
    for distance, expected in ((radius - 0.01, 1), (radius + 0.01, 2)):
        boxes = make_boxes([(0.4, 0.4), (0.4 + distance, 0.4)], [name, name], [0.9, 0.8])
        heatmap, regression = maps(boxes)
        if (
            distance < 1.6
        ):  # neighbouring cells hide each other as peaks: put the second two cells away, and its offset back
            heatmap, regression = maps(boxes[:1])
            row, column = np.argwhere(heatmap[boxes.label[0]] > 0)[0]
            heatmap[boxes.label[0], row, column + 2] = 0.8
            second = AXIS.encode(boxes[1:], np.array([row]), np.array([column + 2]), GRID)[0]
            regression[group, :, row, column + 2] = second
        assert len(decode(heatmap, regression, GRID, 0.1)) == expected


def test_only_local_maxima_above_the_threshold_count():
    heatmap, regression = maps(make_boxes([(0.4, 0.4)], ["pedestrian"], [0.9]))
    label = CLASSES.index("pedestrian")
    row, column = np.argwhere(heatmap[label] > 0)[0]
    heatmap[label, row + 1, column + 1] = 0.8  # beside the peak
    heatmap[label, row + 10, column] = 0.19
    assert len(decode(heatmap, regression, GRID, 0.2)) == 1
    assert len(decode(heatmap, regression, GRID, 0.1)) == 2


def test_peaks_at_the_border_count_and_max_boxes_keeps_the_best():
    heatmap = np.zeros((len(CLASSES), *GRID.shape), np.float32)
    heatmap[0, [0, 0, -1, -1], [0, -1, 0, -1]] = [0.3, 0.4, 0.5, 0.6]
    regression = np.zeros((len(NUSCENES.groups), len(AXIS.names), *GRID.shape), np.float32)
    np.testing.assert_allclose(decode(heatmap, regression, GRID, 0.1).score, [0.6, 0.5, 0.4, 0.3], atol=1e-6)
    np.testing.assert_allclose(decode(heatmap, regression, GRID, 0.1, max_boxes=2).score, [0.6, 0.5], atol=1e-6)


def test_wild_sizes_stay_finite():
    heatmap, regression = maps(make_boxes([(0.4, 0.4)], ["car"], [0.9]))
    regression[:, 3:6] = 1e4
    assert np.isfinite(decode(heatmap, regression, GRID, 0.1).size).all()


def test_nothing_seen_is_no_boxes():
    heatmap, regression = maps(Boxes.empty())
    assert len(decode(heatmap, regression, GRID, 0.1)) == 0
