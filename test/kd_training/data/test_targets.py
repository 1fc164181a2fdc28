"""Targets: Gaussians where boxes stand, codes that decode back to the boxes, depth labels of the nearest return."""

import numpy as np
import pytest

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS, VECTOR
from kd_perception.student.decode import decode
from kd_perception.student.spec import DepthBins, StudentSpec, ViewSpec
from kd_training.data.camera_returns import CameraReturns
from kd_training.data.targets import NO_DEPTH, depth_labels, detection_targets, draw_gaussian, gaussian_radius

GRID = BevGrid(-51.2, 51.2, -51.2, 51.2, 0.8)


def make_boxes() -> Boxes:
    """One box of each class on a circle, 3 m apart at least."""
    angle = np.linspace(0.0, 2.0 * np.pi, 10, endpoint=False) + 0.1
    return Boxes(
        center=np.column_stack([20.0 * np.cos(angle), 20.0 * np.sin(angle), np.linspace(0.2, 2.0, 10)]),
        size=np.column_stack([np.linspace(0.5, 12.0, 10), np.linspace(0.4, 3.0, 10), np.linspace(1.0, 4.0, 10)]),
        yaw=np.linspace(-3.0, 3.0, 10),
        velocity=np.column_stack([np.linspace(-5.0, 5.0, 10), np.linspace(2.0, -2.0, 10)]),
        label=np.arange(10),
        score=np.ones(10),
    )


def test_targets_decode_back_to_the_boxes():
    boxes = make_boxes()
    targets = detection_targets(boxes, GRID)
    regression = np.zeros((len(NUSCENES.groups), len(AXIS.names), *GRID.shape))
    regression[targets.group, :, targets.row, targets.column] = targets.codes
    found = decode(targets.heatmap, regression, GRID, 0.9)
    order = np.argsort(found.label)
    for name in ("center", "size", "velocity", "label"):
        np.testing.assert_allclose(getattr(found[order], name), getattr(boxes, name), atol=1e-5, err_msg=name)
    whole = np.array([kind.heading == "full" for kind in NUSCENES.classes])
    np.testing.assert_allclose(found[order].yaw[whole], boxes.yaw[whole], atol=1e-5)


def test_headings_that_a_class_does_not_define_are_not_learnt():
    targets = detection_targets(make_boxes(), GRID)
    unknown = {NUSCENES.names[label]: np.isnan(row).sum() for label, row in enumerate(targets.codes)}
    assert unknown == {name: {"barrier": 2, "traffic_cone": 4}.get(name, 0) for name in NUSCENES.names}
    assert np.isfinite(targets.codes[NUSCENES.names.index("barrier"), 6:8]).all()  # a barrier has an axis
    assert np.isfinite(detection_targets(make_boxes(), GRID, VECTOR).codes).all()  # as it always was


def test_boxes_outside_the_grid_are_left_out():
    boxes = make_boxes()
    boxes.center[0, 0], boxes.center[1, 1] = 51.3, -60.0
    targets = detection_targets(boxes, GRID)
    assert len(targets.row) == 8
    assert targets.heatmap[:2].max() == 0.0 and targets.heatmap[2].max() == 1.0
    assert (targets.group == NUSCENES.group_of_label[2:]).all() and len(CLASSES) == len(targets.heatmap)


def test_gaussian_is_cut_at_the_border_and_never_lowers():
    heatmap = np.zeros((8, 8), np.float32)
    draw_gaussian(heatmap, 0, 0, 2)
    draw_gaussian(heatmap, 1, 2, 2)
    assert heatmap[0, 0] == 1.0 and heatmap[1, 2] == 1.0
    alone = np.zeros((8, 8), np.float32)
    draw_gaussian(alone, 1, 2, 2)
    assert (heatmap >= alone).all() and heatmap[4:].max() == 0.0
    np.testing.assert_allclose(heatmap[0, 1], np.exp(-1.0 / (2.0 * (5.0 / 6.0) ** 2)), rtol=1e-6)


@pytest.mark.parametrize(("length", "width"), [(5.6, 2.4), (14.0, 4.0), (1.0, 1.0)])
def test_radius_keeps_the_overlap_in_the_worst_case(length, width):
    """Shifting both corners by the radius, alike, inwards or outwards, leaves at least the overlap; more than it does
    not.
    """

    def worst(r: float) -> float:
        area = length * width
        common = max(0.0, length - r) * max(0.0, width - r)
        inside = max(0.0, length - 2 * r) * max(0.0, width - 2 * r)
        return min(common / (2 * area - common), inside / area, area / ((length + 2 * r) * (width + 2 * r)))

    radius = gaussian_radius(length, width, 0.1)
    assert worst(radius) == pytest.approx(0.1, abs=1e-6)
    assert worst(radius * 1.05) < 0.1


def test_depth_labels_take_the_nearest_return():
    spec = StudentSpec(
        "t", GRID, (64, 176), ViewSpec("pull", 8, DepthBins(1.0, 1.0, 30), (), (0.0, 0.0)), 1, (0.0,) * 3, (1.0,) * 3
    )
    camera = ring_rig(1, 352, 128)[0]
    pixels = np.array([[20.0, 20.0], [21.0, 22.0], [100.0, 50.0], [120.0, 60.0]], np.float32)
    labels = depth_labels(
        spec, camera, CameraReturns(pixels, np.array([12.4, 7.6, 40.0, 0.5], np.float32)), np.diag([0.5, 0.5, 1.0])
    )
    assert labels[1, 1] == 6  # 7.6 m, not 12.4 m, in bins of 1 m from 1 m
    assert (labels != NO_DEPTH).sum() == 1  # out of the bins: no label
