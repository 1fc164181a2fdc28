import json

import numpy as np
import pytest
from support.real_data import real_data

from kd_perception.transforms import make_transform
from kd_training.synthetic.sensors import CAMERA_MOUNTS, LIDAR_COLUMNS, build_rig, lidar_rays, scaled_intrinsics


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
