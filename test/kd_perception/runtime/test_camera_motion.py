"""Cameras that fire apart: what stands still is where it is, and tables are not rebuilt for nothing."""

import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_perception.datasets.nuscenes import at_anchor, load_frame, open_nuscenes, scene_samples
from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import ring_rig, seen_from_anchor
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw
from kd_perception.runtime.camera_motion import HELD_METRES, CameraMotion

SPEED, YAW_RATE = 15.0, 0.4  # m/s along x, rad/s: a turn at speed


def odom_from_base(stamp_ns: int) -> np.ndarray:
    """A robot on a circle."""
    yaw = YAW_RATE * stamp_ns / 1e9
    radius = SPEED / YAW_RATE
    return make_transform(quaternion_from_yaw(yaw), [radius * np.sin(yaw), radius * (1.0 - np.cos(yaw)), 0.0])


def test_a_still_point_falls_on_the_pixel_where_the_late_camera_saw_it():
    camera = ring_rig(6, 704, 256)[1]
    anchor_ns, exposure_ns = 10**9, 10**9 + 50_000_000
    point = np.array([[20.0, 25.0, 0.5]])  # in base_link when the camera fired
    seen, ranges, visible = camera.project(point)
    at_anchor_time = apply(invert(odom_from_base(anchor_ns)) @ odom_from_base(exposure_ns), point)
    moved = seen_from_anchor(camera, odom_from_base(anchor_ns), odom_from_base(exposure_ns))
    again, ranges_again, _ = moved.project(at_anchor_time)
    assert visible[0] and np.linalg.norm(at_anchor_time - point) > 0.4
    np.testing.assert_allclose(again, seen, atol=1e-6)
    np.testing.assert_allclose(ranges_again, ranges)


def test_a_camera_that_fired_with_the_anchor_is_the_same_object():
    camera = ring_rig(6, 704, 256)[1]
    assert seen_from_anchor(camera, odom_from_base(10**9), odom_from_base(10**9)) is camera


def test_a_running_robot_moves_cameras_and_leaves_the_anchor():
    rig = ring_rig(3, 704, 256)
    cameras, problem = CameraMotion(odom_from_base).at_anchor(rig, 10**9, [0, 50_000_000, None])
    assert not problem
    np.testing.assert_array_equal(cameras[0].ego_from_camera, rig[0].ego_from_camera)
    np.testing.assert_array_equal(cameras[2].ego_from_camera, rig[2].ego_from_camera)
    shift = cameras[1].ego_from_camera[:3, 3] - rig[1].ego_from_camera[:3, 3]
    np.testing.assert_allclose(shift, [-0.75, 0.0, 0.0], atol=0.02)  # it fired earlier, further back


def test_motions_that_change_little_keep_the_tables():
    rig = ring_rig(2, 704, 256)
    motion = CameraMotion(odom_from_base)
    first, _ = motion.at_anchor(rig, 10**9, [0, 40_000_000])
    same, _ = motion.at_anchor(rig, 2 * 10**9, [0, 40_000_000 + int(0.9 * HELD_METRES / SPEED * 1e9)])
    other, _ = motion.at_anchor(rig, 3 * 10**9, [0, 40_000_000 + int(1.1 * HELD_METRES / SPEED * 1e9)])
    assert all(again is before for again, before in zip(same, first, strict=True))  # not even another object
    assert other[0] is first[0] and not other[1].same_calibration(first[1])


def test_a_camera_that_was_calibrated_anew_is_moved_anew():
    motion = CameraMotion(odom_from_base)
    ages_ns = [0, 40_000_000]
    first, _ = motion.at_anchor(ring_rig(2, 704, 256), 10**9, ages_ns)
    equal, _ = motion.at_anchor(ring_rig(2, 704, 256), 10**9, ages_ns)
    wider, _ = motion.at_anchor(ring_rig(2, 704, 256, np.radians(95.0)), 10**9, ages_ns)
    assert equal[1] is first[1] and wider[1].intrinsics[0, 0] < first[1].intrinsics[0, 0]
    np.testing.assert_array_equal(wider[1].ego_from_camera, first[1].ego_from_camera)


def test_without_odometry_the_cameras_stay_and_it_is_said():
    def unknown(stamp_ns: int) -> np.ndarray:
        raise CalibrationError("tf has no odom")

    rig = ring_rig(2, 704, 256)
    cameras, problem = CameraMotion(unknown).at_anchor(rig, 10**9, [0, 40_000_000])
    assert problem == "cameras are taken to have fired together: tf has no odom"
    np.testing.assert_array_equal(cameras[1].ego_from_camera, rig[1].ego_from_camera)


@pytest.mark.parametrize("scene", SCENES[:1])
def test_nuscenes_frames_know_where_each_camera_was(tmp_path, scene):
    nusc = open_nuscenes(write_dataset(tmp_path), VERSION)
    frame = load_frame(nusc, scene_samples(nusc, scene)[1])
    moved = at_anchor(frame)
    apart = [image.timestamp_us - frame.timestamp_us for image in frame.images]
    assert any(apart)
    for before, after in zip(frame.images, moved.images, strict=True):
        ray = apply(before.camera.ego_from_camera, np.array([[0.5, 0.2, 12.0]]))  # 12 m in front of the camera
        in_anchor = apply(invert(frame.global_from_ego) @ before.global_from_ego, ray)
        np.testing.assert_allclose(after.camera.project(in_anchor)[0], before.camera.project(ray)[0], atol=1e-4)
        np.testing.assert_array_equal(after.global_from_ego, frame.global_from_ego)
