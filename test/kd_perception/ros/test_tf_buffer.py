"""The transform buffer by itself: what our own adds to tf2. The cases that both share are in test_tf.py."""

import numpy as np
import pytest

from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.tf_buffer import TransformBuffer

S = 1_000_000_000


def pose(x: float, yaw: float = 0.0) -> np.ndarray:
    return make_transform(quaternion_from_yaw(yaw), [x, 0.0, 0.0])


@pytest.fixture
def buffer() -> TransformBuffer:
    """odom -> base_link (10 m/s) -> camera (static)."""
    buffer = TransformBuffer()
    for second in range(4):
        buffer.set_transform("odom", "base_link", second * S, pose(10.0 * second))
    buffer.set_transform("base_link", "camera", 0, pose(1.5, -1.0), static=True)
    return buffer


@pytest.mark.parametrize("stamp, side", [(-1 * S, "1.000 s before the oldest"), (5 * S, "2.000 s after the newest")])
def test_extrapolation_is_refused_with_its_distance(buffer, stamp, side):
    with pytest.raises(TransformError, match=f"odom -> base_link .*{side}"):
        buffer.lookup("odom", "camera", stamp)


def test_cycles_are_refused_and_change_nothing(buffer):
    before = buffer.lookup("odom", "camera", 1 * S)
    for parent, child in (("camera", "odom"), ("base_link", "base_link"), ("camera", "base_link")):
        with pytest.raises(TransformError, match="cycle"):
            buffer.set_transform(parent, child, 0, pose(0.0), static=True)
    assert np.array_equal(buffer.lookup("odom", "camera", 1 * S), before)


def test_stamps_far_in_the_past_start_a_new_history_unasked(buffer):
    buffer.set_transform("odom", "base_link", 100 * S, pose(5.0))
    buffer.set_transform("odom", "base_link", 1 * S, pose(6.0))
    assert buffer.lookup("odom", "base_link", 1 * S)[0, 3] == 6.0
    with pytest.raises(TransformError, match="after the newest"):
        buffer.lookup("odom", "base_link", 100 * S)


def test_only_later_times_are_forgotten(buffer):
    before = buffer.lookup("odom", "base_link", 1 * S)
    buffer.forget_after(2 * S)
    assert np.array_equal(buffer.lookup("odom", "base_link", 1 * S), before)
    with pytest.raises(TransformError, match="after the newest"):
        buffer.lookup("odom", "base_link", 3 * S)
    buffer.forget_after(-1)
    assert np.allclose(buffer.lookup("base_link", "camera", 0), pose(1.5, -1.0))
    with pytest.raises(TransformError, match="'odom' is unknown"):
        buffer.lookup("odom", "base_link", 1 * S)


def test_a_static_edge_is_the_same_object_each_time_and_nobody_can_change_it(buffer):
    mounting = pose(3.0)
    buffer.set_transform("base_link", "lidar", 0, mounting, static=True)
    mounting[0, 3] = 5.0  # whoever gave it may go on using the array
    first = buffer.lookup("base_link", "lidar", 1 * S)
    assert first is buffer.lookup("base_link", "lidar", 2 * S) and first[0, 3] == 3.0
    with pytest.raises(ValueError, match="read-only"):
        first[0, 3] = 5.0
