"""Rigid transforms against transforms3d and by round trip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transforms3d.euler import euler2mat

from kd_perception.geometry.transforms import (
    apply,
    interpolate,
    invert,
    make_transform,
    quaternion_from_yaw,
    quaternion_of,
    wrap_angle,
    yaw_of,
)

angles = st.floats(-3.1, 3.1)


@given(roll=angles, pitch=st.floats(-1.5, 1.5), yaw=angles)
def test_inverse_and_quaternion_round_trip(roll: float, pitch: float, yaw: float):
    transform = make_transform(euler2mat(roll, pitch, yaw), np.array([1.0, -2.0, 3.0]))
    np.testing.assert_allclose(transform @ invert(transform), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(make_transform(quaternion_of(transform), transform[:3, 3]), transform, atol=1e-9)
    points = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_allclose(apply(invert(transform), apply(transform, points)), points, atol=1e-12)


@given(yaw=angles)
def test_yaw_round_trip(yaw: float):
    assert yaw_of(make_transform(quaternion_from_yaw(yaw), np.zeros(3))) == pytest.approx(yaw, abs=1e-9)


@given(angle=st.floats(-100, 100))
def test_wrapped_angles_point_the_same_way(angle: float):
    wrapped = wrap_angle(np.array(angle))
    assert -np.pi <= wrapped < np.pi + 1e-12
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-9)


def test_a_left_turn_carries_x_to_y():
    quarter = make_transform(quaternion_from_yaw(np.pi / 2), np.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(apply(quarter, np.array([2.0, 0.0, 0.0])), [1.0, 2.0, 0.0], atol=1e-12)


@given(first=st.floats(-3.1, 3.1), turn=st.floats(-3.0, 3.0), fraction=st.floats(0, 1))
def test_interpolation_turns_evenly_the_short_way(first: float, turn: float, fraction: float):
    start = make_transform(quaternion_from_yaw(first), np.zeros(3))
    end = make_transform(quaternion_from_yaw(first + turn), np.array([4.0, 0.0, 2.0]))
    between = interpolate(start, end, fraction)
    assert wrap_angle(np.array(yaw_of(between) - first - fraction * turn)) == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(between[:3, 3], [4.0 * fraction, 0.0, 2.0 * fraction], atol=1e-12)


@pytest.mark.parametrize("quaternion", [np.zeros(4), np.array([np.nan, 0.0, 0.0, 1.0])])
def test_no_rotation_is_refused(quaternion: np.ndarray):
    with pytest.raises(ValueError, match="is no rotation"):
        make_transform(quaternion, np.zeros(3))
