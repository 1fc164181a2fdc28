"""The transform buffer: geometry, time, and trees that stay trees."""

import numpy as np
import pytest

from kd_perception.geometry.transforms import invert, make_transform, quaternion_from_yaw, yaw_of
from kd_perception.ros.tf_buffer import TransformBuffer, TransformError

S = 1_000_000_000


def pose(x, y=0.0, yaw=0.0):
    return make_transform(quaternion_from_yaw(yaw), [x, y, 0.0])


@pytest.fixture
def buffer():
    """map -> odom (static) -> base_link (10 m/s) -> camera (static)."""
    buffer = TransformBuffer()
    buffer.set_transform("map", "odom", 0, pose(100.0, 50.0, 0.5), static=True)
    for second in range(4):
        buffer.set_transform("odom", "base_link", second * S, pose(10.0 * second, yaw=0.1 * second))
    buffer.set_transform("base_link", "camera", 0, pose(1.5, 0.2, -1.0), static=True)
    return buffer


def test_chain_and_inverse(buffer):
    expected = pose(100.0, 50.0, 0.5) @ pose(20.0, yaw=0.2) @ pose(1.5, 0.2, -1.0)
    assert np.allclose(buffer.lookup("map", "camera", 2 * S), expected, atol=1e-12)
    assert np.allclose(buffer.lookup("camera", "map", 2 * S), invert(expected), atol=1e-12)
    assert np.allclose(buffer.lookup("odom", "odom", 2 * S), np.eye(4))


def test_interpolates_between_stamps(buffer):
    halfway = buffer.lookup("odom", "base_link", int(1.5 * S))
    assert np.allclose(halfway[:3, 3], [15.0, 0.0, 0.0]) and yaw_of(halfway) == pytest.approx(0.15)


def test_siblings_meet_at_their_parent(buffer):
    buffer.set_transform("base_link", "lidar", 0, pose(0.0, 1.0), static=True)
    assert np.allclose(
        buffer.lookup("lidar", "camera", 1 * S), invert(pose(0.0, 1.0)) @ pose(1.5, 0.2, -1.0), atol=1e-12
    )


def test_static_edges_hold_at_any_time(buffer):
    assert np.allclose(buffer.lookup("base_link", "camera", 10**18), pose(1.5, 0.2, -1.0))


def test_a_static_edge_is_the_same_object_each_time_and_nobody_can_change_it(buffer):
    mounting = pose(0.0, 1.0)
    buffer.set_transform("base_link", "lidar", 0, mounting, static=True)
    mounting[0, 3] = 5.0  # whoever gave it may go on using the array
    first = buffer.lookup("base_link", "lidar", 1 * S)
    assert first is buffer.lookup("base_link", "lidar", 2 * S) and first[0, 3] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        first[0, 3] = 5.0


def test_a_new_static_transform_replaces_the_old(buffer):
    buffer.set_transform("base_link", "camera", 1, pose(2.0), static=True)
    assert np.allclose(buffer.lookup("base_link", "camera", 0), pose(2.0))


@pytest.mark.parametrize("stamp, side", [(-1 * S, "before the oldest"), (5 * S, "after the newest")])
def test_extrapolation_is_refused_with_its_distance(buffer, stamp, side):
    with pytest.raises(TransformError, match=f"odom -> base_link .*{side}"):
        buffer.lookup("map", "camera", stamp)


def test_unknown_and_unconnected_frames_are_named(buffer):
    with pytest.raises(TransformError, match="'radar' is unknown"):
        buffer.lookup("map", "radar", 0)
    buffer.set_transform("island", "tree", 0, pose(0.0), static=True)
    with pytest.raises(TransformError, match="separate trees"):
        buffer.lookup("map", "tree", 0)


def test_cycles_are_refused_and_change_nothing(buffer):
    before = buffer.lookup("map", "camera", 1 * S)
    for parent, child in (("camera", "map"), ("base_link", "base_link"), ("camera", "odom")):
        with pytest.raises(TransformError, match="cycle"):
            buffer.set_transform(parent, child, 0, pose(0.0), static=True)
    assert np.array_equal(buffer.lookup("map", "camera", 1 * S), before)


def test_values_that_are_not_finite_are_refused(buffer):
    with pytest.raises(TransformError, match="not finite"):
        buffer.set_transform("odom", "base_link", 4 * S, pose(np.nan))


def test_a_frame_can_move_to_another_parent(buffer):
    buffer.set_transform("camera", "sticker", 0, pose(1.0), static=True)
    buffer.set_transform("map", "sticker", 2 * S, pose(7.0), static=False)
    assert np.allclose(buffer.lookup("map", "sticker", 2 * S), pose(7.0))
    with pytest.raises(TransformError, match="map -> sticker"):
        buffer.lookup("map", "sticker", 0)


def test_history_is_bounded():
    buffer = TransformBuffer(history_s=1.0)
    for step in range(1000):
        buffer.set_transform("odom", "base_link", step * S // 10, pose(step))
    assert len(buffer._edges["base_link"].stamps_ns) == 11
    with pytest.raises(TransformError, match="before the oldest"):
        buffer.lookup("odom", "base_link", 0)


def test_stamps_may_come_out_of_order(buffer):
    buffer.set_transform("odom", "base_link", int(1.5 * S), pose(99.0))
    assert buffer.lookup("odom", "base_link", int(1.5 * S))[0, 3] == 99.0


def test_stamps_far_in_the_past_start_a_new_history(buffer):
    """A bag that loops: the old round must not hide the new one."""
    buffer.set_transform("odom", "base_link", 100 * S, pose(5.0))
    buffer.set_transform("odom", "base_link", 1 * S, pose(6.0))
    assert buffer.lookup("odom", "base_link", 1 * S)[0, 3] == 6.0


def test_later_times_are_forgotten_and_earlier_ones_and_static_edges_kept(buffer):
    buffer.set_transform("odom", "base_link", 3 * S, pose(9.0))
    before = buffer.lookup("odom", "base_link", 1 * S)
    buffer.forget_after(2 * S)
    assert np.array_equal(buffer.lookup("odom", "base_link", 1 * S), before)
    with pytest.raises(TransformError, match="after the newest"):
        buffer.lookup("odom", "base_link", 3 * S)
    buffer.forget_after(-1)
    assert np.allclose(buffer.lookup("base_link", "camera", 0), pose(1.5, 0.2, -1.0))
    with pytest.raises(TransformError):
        buffer.lookup("odom", "base_link", 1 * S)
