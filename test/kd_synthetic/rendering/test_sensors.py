"""The rigs: rays, lenses, mountings and firing times of cameras, and the LiDAR."""

import json

import numpy as np
import pytest
from support.real_data import real_data

from kd_perception.geometry.transforms import make_transform
from kd_synthetic.rendering.sensors import (
    CAMERA_MOUNTS,
    LIDAR_COLUMNS,
    RIGS,
    build_rig,
    lidar_rays,
    scaled_intrinsics,
)


def test_scaled_intrinsics_are_a_resize_and_a_crop() -> None:
    focal, principal, point = 1260.0, (810.0, 490.0), np.array((1.5, 0.4, 10.0))
    full = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
    u, v, _ = full @ point / point[2]  # integer pixel centres: the picture's left edge is -0.5
    small = scaled_intrinsics(focal, principal, 704, 256) @ point / point[2]
    assert small[0] == pytest.approx((u + 0.5) * 0.44 - 0.5)
    assert small[1] == pytest.approx((v + 0.5) * 0.44 - 0.5 - 140)


@pytest.mark.parametrize("size", [(704, 400), (0, 10), (-704, 256)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="use 1 to"):
        scaled_intrinsics(1000.0, (800.0, 450.0), *size)


def test_rays_project_back_onto_their_pixels() -> None:
    for camera in build_rig(88, 32, np.random.default_rng(0)).cameras:
        rays = camera.rays().astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1, atol=1e-5)
        optical = 7.0 * rays @ camera.ego_from_camera[:3, :3]
        pixel = optical @ camera.intrinsics.T
        pixel = (pixel[:, :2] / pixel[:, 2:]).reshape(32, 88, 2)
        np.testing.assert_allclose(pixel[..., 0], np.broadcast_to(np.arange(88), (32, 88)), atol=1e-3)
        np.testing.assert_allclose(pixel[..., 1], np.broadcast_to(np.arange(32)[:, None], (32, 88)), atol=1e-3)


@pytest.mark.parametrize("rig", RIGS)
def test_rays_meet_the_pixels_that_the_rig_projects_to(rig: str) -> None:
    """The cast ray of a pixel, through the projection that the rest of the project uses, for every lens."""
    for sensor in build_rig(176, 64, np.random.default_rng(0), rig, np.random.default_rng(1)).cameras:
        rays = sensor.rays().astype(np.float64)
        seen = np.isfinite(rays[:, 0])
        assert seen.mean() > 0.9
        pixels, distance, visible = sensor.camera.project(sensor.ego_from_camera[:3, 3] + 9.0 * rays[seen])
        v, u = np.divmod(np.flatnonzero(seen), 176)
        assert visible.all()
        np.testing.assert_allclose(pixels, np.column_stack([u, v]) + 0.5, atol=1e-3)
        np.testing.assert_allclose(distance, 9.0, atol=1e-5)


def test_the_moved_rig_is_moved_as_far_as_promised() -> None:
    shifts, angles, factors = [], [], []
    for seed in range(20):
        original = build_rig(704, 256, np.random.default_rng(seed)).cameras
        moved = build_rig(704, 256, np.random.default_rng(seed), "moved", np.random.default_rng(100 + seed)).cameras
        for before, after in zip(original, moved, strict=True):
            shifts.append(after.ego_from_camera[:3, 3] - before.ego_from_camera[:3, 3])
            turn = after.ego_from_camera[:3, :3] @ before.ego_from_camera[:3, :3].T
            angles.append(np.degrees([turn[2, 1], turn[0, 2], turn[1, 0]]))
            factors.append(after.intrinsics[0, 0] / before.intrinsics[0, 0])
    assert 0.18 < np.abs(shifts).max() <= 0.2 and 1.8 < np.abs(angles).max() < 2.1
    assert 0.9 <= min(factors) < 0.91 and 1.09 < max(factors) <= 1.1


def test_a_fisheye_sees_beyond_its_side() -> None:
    for sensor in build_rig(352, 128, np.random.default_rng(0), "fisheye", np.random.default_rng(1)).cameras:
        forward = sensor.rays() @ sensor.ego_from_camera[:3, 2]
        assert np.degrees(np.arccos(np.nanmin(forward))) > 92


def test_cameras_fire_one_after_the_other_within_the_spread() -> None:
    cameras = build_rig(88, 32, np.random.default_rng(0)).cameras
    offsets = {camera.channel: camera.firing_offset(0.05) for camera in cameras}
    assert abs(offsets["CAM_FRONT"]) < 1e-3 and 0.02 < abs(offsets["CAM_BACK"]) <= 0.025
    order = ["CAM_BACK_LEFT", "CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT"]
    assert sorted(order, key=offsets.__getitem__) == order
    assert all(camera.firing_offset(0.0) == 0.0 for camera in cameras)


def test_lidar_fires_32_rings_all_around() -> None:
    directions, ring = lidar_rays()
    assert directions.shape == (32 * LIDAR_COLUMNS, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    elevation = np.degrees(np.arcsin(directions[:, 2]))
    assert elevation[ring == 0] == pytest.approx(-30.67, abs=1e-3)
    assert elevation[ring == 31] == pytest.approx(10.67, abs=1e-3)
    assert (
        np.unique(np.round(np.degrees(np.arctan2(directions[ring == 5, 1], directions[ring == 5, 0])), 3)).size
        == LIDAR_COLUMNS
    )


def test_lidar_frame_has_y_forward_and_x_right() -> None:
    rotation = build_rig(88, 32, np.random.default_rng(0)).ego_from_lidar[:3, :3]
    np.testing.assert_allclose(rotation @ (0, 1, 0), (1, 0, 0), atol=0.03)
    np.testing.assert_allclose(rotation @ (1, 0, 0), (0, -1, 0), atol=0.03)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


@pytest.mark.real_data
def test_rig_is_like_a_real_nuscenes_car() -> None:
    folder = real_data("nuscenes-real") / "v1.0-mini"
    channel = {row["token"]: row["channel"] for row in json.loads((folder / "sensor.json").read_text())}
    real = {channel[row["sensor_token"]]: row for row in json.loads((folder / "calibrated_sensor.json").read_text())}
    rig = build_rig(1600, 900, np.random.default_rng(0))
    for camera in rig.cameras:
        row = real[camera.channel]
        expected = make_transform(row["rotation"], row["translation"])
        np.testing.assert_allclose(camera.ego_from_camera[:3, 3], expected[:3, 3], atol=0.06)
        angle = np.arccos(np.clip((np.trace(camera.ego_from_camera[:3, :3].T @ expected[:3, :3]) - 1) / 2, -1, 1))
        assert np.degrees(angle) < 3.0, camera.channel
        np.testing.assert_allclose(camera.intrinsics, row["camera_intrinsic"], rtol=0.02, atol=15)
    assert [mount.channel for mount in CAMERA_MOUNTS] == [camera.channel for camera in rig.cameras]
    expected = make_transform(real["LIDAR_TOP"]["rotation"], real["LIDAR_TOP"]["translation"])
    np.testing.assert_allclose(rig.ego_from_lidar, expected, atol=0.05)
