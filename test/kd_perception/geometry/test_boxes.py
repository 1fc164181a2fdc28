"""Boxes: corners, change of frame, selection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw, wrap_angle


def random_boxes(count: int, seed: int = 0) -> Boxes:
    rng = np.random.default_rng(seed)
    return Boxes(
        center=rng.uniform(-50, 50, (count, 3)),
        size=rng.uniform(0.3, 12, (count, 3)),
        yaw=rng.uniform(-np.pi, np.pi, count),
        velocity=rng.uniform(-10, 10, (count, 2)),
        label=rng.integers(0, len(CLASSES), count),
        score=rng.uniform(0, 1, count),
    )


def test_the_ten_nuscenes_classes_are_grouped_once():
    from nuscenes.eval.detection.constants import DETECTION_NAMES

    assert sorted(CLASSES) == sorted(DETECTION_NAMES)


def test_corners_of_a_box_turned_left_by_a_quarter():
    box = Boxes(
        np.array([[10.0, 5.0, 1.0]]),
        np.array([[4.0, 2.0, 1.5]]),
        np.array([np.pi / 2]),
        np.zeros((1, 2)),
        np.zeros(1, np.int64),
        np.ones(1),
    )
    front_left, front_right, rear_right, rear_left = box.corners()[0, :4]
    # Its front looks along +y, so its left is towards -x.
    np.testing.assert_allclose(front_left, [9.0, 7.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(front_right, [11.0, 7.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(rear_right, [11.0, 3.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(rear_left, [9.0, 3.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(box.corners()[0, 4:], box.corners()[0, :4] + [0.0, 0.0, 1.5], atol=1e-12)


@given(yaw=st.floats(-10, 10), x=st.floats(-1e3, 1e3), y=st.floats(-1e3, 1e3), z=st.floats(-10, 10))
def test_level_transform_moves_corners_like_points_and_returns(yaw: float, x: float, y: float, z: float):
    boxes = random_boxes(5)
    target_from_source = make_transform(quaternion_from_yaw(yaw), np.array([x, y, z]))
    moved = boxes.transformed(target_from_source)
    np.testing.assert_allclose(moved.corners(), apply(target_from_source, boxes.corners()), atol=1e-9)
    np.testing.assert_allclose(
        np.linalg.norm(moved.velocity, axis=1), np.linalg.norm(boxes.velocity, axis=1), rtol=1e-9
    )
    back = moved.transformed(invert(target_from_source))
    np.testing.assert_allclose(back.center, boxes.center, atol=1e-9)
    np.testing.assert_allclose(wrap_angle(back.yaw - boxes.yaw), 0.0, atol=1e-9)
    np.testing.assert_allclose(back.velocity, boxes.velocity, atol=1e-9)


def test_velocity_turns_with_the_frame():
    boxes = random_boxes(1)
    turned = boxes.transformed(make_transform(quaternion_from_yaw(np.pi / 2), np.zeros(3)))
    np.testing.assert_allclose(turned.velocity[0], [-boxes.velocity[0, 1], boxes.velocity[0, 0]], atol=1e-12)


def test_selection_and_concatenation():
    boxes = random_boxes(6)
    again = Boxes.concatenate([boxes[:2], boxes[np.arange(6) >= 2]])
    np.testing.assert_array_equal(again.center, boxes.center)
    np.testing.assert_array_equal(again.label, boxes.label)
    assert len(Boxes.concatenate([])) == 0
    assert len(boxes[boxes.score > 2.0]) == 0
    assert Boxes.empty().corners().shape == (0, 8, 3)


def test_arrays_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"Boxes\.velocity has shape \(3, 2\)"):
        Boxes(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2), np.zeros((3, 2)), np.zeros(2, np.int64), np.zeros(2))
