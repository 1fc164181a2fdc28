"""Tracks: what moves as its velocity says is one object, forwards or backwards; velocities follow from centres."""

import numpy as np
import pytest
from support.distillation import box

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_training.unlabelled.tracks import LINK_M, LONGEST_GAP_S, link, track

CAR, BUS = CLASSES.index("car"), CLASSES.index("bus")
HALF_SECOND = 500_000


def car(x: float, y: float = 0.0, speed: float = 0.0, label: int = CAR) -> Boxes:
    one = box(x, y, 4.0, 2.0, label=label)
    one.velocity[:] = speed, 0.0
    return one


def test_a_fast_car_is_followed_and_its_velocity_comes_from_its_centres():
    """At 20 m/s, which the teacher underrates by 2 m/s."""
    keyframes = [Boxes.concatenate([car(10.0 * k, speed=18.0), car(-30.0 - k, 8.0)]) for k in range(4)]
    tracked = track(keyframes, [k * HALF_SECOND for k in range(4)])
    for entry in tracked:
        np.testing.assert_array_equal(entry.length, [4, 4])
        np.testing.assert_allclose(entry.velocity, [[20.0, 0.0], [-2.0, 0.0]], atol=1e-9)


@pytest.mark.parametrize(("first", "second"), [(20.0, np.nan), (np.nan, 20.0), (0.0, 20.0)])
def test_either_velocity_suffices(first, second):
    earlier, later = link(car(0.0, speed=first), car(10.0, speed=second), 0.5)
    assert earlier.tolist() == later.tolist() == [0]


def test_neither_other_classes_nor_far_boxes_nor_long_gaps_link():
    assert not len(link(car(0.0), car(0.0, label=BUS), 0.5)[0])
    assert not len(link(car(0.0), car(LINK_M + 0.1), 0.5)[0])
    assert not len(link(car(0.0), Boxes.empty(), 0.5)[0])
    for gap in (LONGEST_GAP_S + 0.1, 0.0):
        tracked = track([car(0.0), car(0.0)], [0, round(gap * 1e6)])
        assert [entry.length.tolist() for entry in tracked] == [[1], [1]]
        assert all(np.isnan(entry.velocity).all() for entry in tracked)


def test_one_box_has_one_neighbour_the_nearest():
    earlier, later = link(car(0.0), Boxes.concatenate([car(1.0), car(0.4), car(-0.8)]), 0.5)
    assert (earlier.tolist(), later.tolist()) == ([0], [1])


def test_a_gap_ends_a_track_on_both_sides():
    here, nothing = car(3.0), Boxes.empty()
    tracked = track([here, here, nothing, here, here, here], [k * HALF_SECOND for k in range(6)])
    assert [entry.length.tolist() for entry in tracked] == [[2], [2], [], [3], [3], [3]]
