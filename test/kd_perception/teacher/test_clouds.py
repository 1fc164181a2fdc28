"""Sweeps of a robot that drives meet in one frame: what stands still stays at one place, with the age of each sweep."""

from dataclasses import replace

import numpy as np

from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw
from kd_perception.teacher.clouds import Sweep, cut_to_grid, merge_sweeps
from kd_perception.teacher.spec import PointsSpec

RASTER = BevGrid.square(20.0, 0.5)
SPEC = PointsSpec(sweeps=5, z_range=(-3.0, 5.0), per_pillar=0, most=0)
BASE_FROM_LIDAR = make_transform(quaternion_from_yaw(np.pi / 2), np.array([0.9, 0.0, 1.8]))


def odom_from_base(age_s: float) -> np.ndarray:
    """A robot that drives a curve at 8 m/s."""
    return make_transform(quaternion_from_yaw(0.5 - 0.4 * age_s), np.array([3.0 - 8.0 * age_s, 1.0 - 2.0 * age_s, 0.0]))


def sweep(in_odom: np.ndarray, age_s: float, intensity: float = 51.0, **changes: float) -> Sweep:
    """What a LiDAR measures of points (P, 3) that stand in odom."""
    then = odom_from_base(age_s)
    points = np.zeros((len(in_odom), 4), np.float32)
    points[:, :3] = apply(invert(then @ BASE_FROM_LIDAR), in_odom)
    points[:, 3] = intensity
    return Sweep(points, BASE_FROM_LIDAR, invert(odom_from_base(0.0)) @ then, age_s, **changes)


def merged(*sweeps: Sweep, spec: PointsSpec = SPEC, seed: int = 0) -> np.ndarray:
    return merge_sweeps(sweeps, spec, RASTER, np.random.default_rng(seed))


def test_what_stands_still_stays_put_while_the_robot_drives():
    in_odom = np.array([[10.0, 4.0, 0.5], [-6.0, -8.0, 1.5], [3.0, 12.0, -0.5]])
    ages = [0.0, 0.1, 0.45, 0.9]
    cloud = merged(*(sweep(in_odom, age) for age in ages))
    expected = apply(invert(odom_from_base(0.0)), in_odom)
    np.testing.assert_allclose(cloud[:, :3], np.tile(expected, (4, 1)), atol=1e-5)
    np.testing.assert_allclose(cloud[:, 3], 0.2)
    np.testing.assert_allclose(cloud[:, 4], np.repeat(ages, 3), atol=1e-6)


def test_intensities_of_other_scales_are_the_same_and_never_above_one():
    place = np.array([[10.0, 4.0, 0.5]])
    sweeps = [sweep(place, 0.0, 13107.0, full_intensity=65535.0), sweep(place, 0.0, 0.2, full_intensity=1.0)]
    np.testing.assert_allclose(merged(*sweeps, sweep(place, 0.0, 400.0))[:, 3], [0.2, 0.2, 1.0], atol=1e-6)


def test_the_robot_itself_the_ground_below_and_what_is_no_number_are_gone():
    now = odom_from_base(0.0)
    near = apply(now, np.array([[1.0, 0.5, 0.8], [1.0, 1.5, 0.8], [5.0, 5.0, 9.0], [5.0, 5.0, -9.0], [99.0, 0.0, 0.0]]))
    one = sweep(near, 0.0)
    one.points[:, 3] = 7.0
    broken = Sweep(np.full((2, 4), np.nan, np.float32), BASE_FROM_LIDAR, np.eye(4), 0.0)
    cloud = merged(one, broken)
    np.testing.assert_allclose(cloud[:, :3], [[1.0, 1.5, 0.8]], atol=1e-5)
    assert merged(broken).shape == merged().shape == (0, 5)


def test_crowds_are_thinned_by_the_seed_and_the_grid_cuts():
    crowd = apply(odom_from_base(0.0), np.random.default_rng(0).uniform([8.05, 8.05, 0], [8.4, 8.4, 1], (2000, 3)))
    spec = replace(SPEC, per_pillar=10)
    thin = merged(sweep(crowd, 0.0), spec=spec)
    assert 2 <= len(thin) <= 25
    np.testing.assert_array_equal(thin, merged(sweep(crowd, 0.0), spec=spec))
    assert len(merged(sweep(crowd, 0.0), spec=replace(SPEC, most=50))) == 50
    far = merged(sweep(apply(odom_from_base(0.0), np.array([[25.0, 0.0, 0.0], [15.0, 0.0, 0.0]])), 0.0))
    assert len(far) == 2 and len(cut_to_grid(far, RASTER)) == 1
