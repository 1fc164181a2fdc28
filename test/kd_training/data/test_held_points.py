"""Points belong to the box that held them when they were measured."""

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_training.data.held_points import inside


def box(size: tuple[float, float, float], yaw: float = 0.0, velocity: tuple[float, float] = (0.0, 0.0)) -> Boxes:
    return Boxes(
        np.zeros((1, 3)), np.array([size]), np.array([yaw]), np.array([velocity]), np.zeros(1, np.int64), np.ones(1)
    )


def test_points_inside_a_turned_box():
    lengthwise, upright = np.array([[1.9, 0.0, 0.0, 0, 0]], np.float32), np.array([[0, 1.9, 0, 0, 0]], np.float32)
    points = np.concatenate([lengthwise, upright])
    assert inside(points, box((4, 1, 1)), 0).tolist() == [True, False]
    assert inside(points, box((4, 1, 1), yaw=np.pi / 2), 0).tolist() == [False, True]
    assert inside(points, box((1, 4, 1)), 0).tolist() == [False, True]
    assert inside(points, box((3.7, 1, 1)), 0).tolist() == [False, False]
    assert inside(points, box((3.7, 1, 1)), 0, margin=0.1).tolist() == [True, False]


def test_older_points_belong_to_the_box_where_it_was():
    old = np.array([[-5.0, 0.0, 0.0, 0, 0.5], [0.0, 0.0, 0.0, 0, 0.5], [0.0, 0.0, 0.0, 0, 0.0]], np.float32)
    moving = box((4, 2, 1), velocity=(10.0, 0.0))
    assert inside(old, moving, 0).tolist() == [True, False, True]
    unknown = box((4, 2, 1), velocity=(np.nan, np.nan))
    assert inside(old, unknown, 0).tolist() == [False, True, True]
