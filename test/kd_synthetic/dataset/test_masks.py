"""Masks, depth, pictures between keyframes and cameras that fire apart, in one rendered set."""

from pathlib import Path

import numpy as np
import pytest

from kd_perception.datasets.masks_and_depth import read_depth, read_mask
from kd_perception.datasets.nuscenes import ego_pose, load_frame, open_nuscenes, read_lidar, sensor_transform
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import DataError
from kd_perception.geometry.transforms import apply, invert
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate


@pytest.fixture(scope="module", params=["nuscenes", "fisheye"])
def rich(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SynthConfig:
    config = SynthConfig(
        tmp_path_factory.mktemp("rich") / "data",
        scenes=1,
        frames=2,
        seed=7,
        width=352,
        height=128,
        sweeps=0,
        jobs=1,
        rig=request.param,
        camera_hz=4,  # one picture between keyframes: every moment more takes a second
        camera_spread_ms=40.0,
        masks=True,
        depth=True,
    )
    generate(config)
    return config


@pytest.fixture(scope="module")
def nusc(rich: SynthConfig):
    return open_nuscenes(rich.out, SYNTHETIC_VERSION)


@pytest.mark.slow  # rendering
def test_lidar_points_agree_with_the_depth_picture(nusc, rich: SynthConfig) -> None:
    """Every point, seen from a camera, is as far as the picture says, unless something covers it from there."""
    frame = load_frame(nusc, nusc.sample[0]["token"])
    row = nusc.get("sample_data", nusc.sample[0]["data"]["LIDAR_TOP"])
    points = apply(ego_pose(nusc, row) @ sensor_transform(nusc, row), read_lidar(nusc, row)[:, :3].astype(np.float64))
    errors = []
    for image in frame.images:
        data = nusc.get("sample_data", nusc.sample[0]["data"][image.camera.name])
        depth = read_depth(rich.out, data["filename"])
        assert depth.shape == (image.camera.height, image.camera.width)
        pixels, distance, seen = image.camera.project(apply(invert(ego_pose(nusc, data)), points))
        u, v = pixels[seen].astype(int).T
        near = distance[seen] < 25
        errors.append((depth[v, u] - distance[seen])[near])
    error = np.concatenate(errors)
    assert len(error) > 2000
    assert np.mean(np.abs(error) < 0.3) > 0.85  # the rest: edges, things that move, what only one of both sees
    assert abs(np.median(error)) < 0.03


def test_masks_name_the_annotations_they_show(nusc, rich: SynthConfig) -> None:
    """The mask's pixels of an annotation, lifted by the depth, lie in its box."""
    checked = 0
    for sample in nusc.sample:
        frame = load_frame(nusc, sample["token"])
        for image in frame.images:
            data = nusc.get("sample_data", sample["data"][image.camera.name])
            mask, depth = read_mask(rich.out, data["filename"]), read_depth(rich.out, data["filename"])
            assert set(mask.annotation_of) <= set(np.unique(mask.index).tolist())
            assert set(mask.annotation_of.values()) <= set(sample["anns"])
            for token in mask.annotation_of.values():
                v, u = np.nonzero(mask.of(token))
                rays = image.camera.unproject(np.column_stack([u, v]) + 0.5)
                local = apply(image.camera.ego_from_camera, rays * depth[v, u, None])
                row = nusc.get("sample_annotation", token)
                reach = np.linalg.norm(row["size"]) / 2 + 0.5  # half a metre: cameras fire up to 20 ms off
                away = np.linalg.norm(apply(ego_pose(nusc, data), local) - row["translation"], axis=1)
                assert away.max() < reach
                checked += len(u)
    assert checked > 1000


def test_pictures_between_keyframes_have_their_own_poses(nusc, rich: SynthConfig) -> None:
    for channel in {
        camera.name for camera in (image.camera for image in load_frame(nusc, nusc.sample[0]["token"]).images)
    }:
        first = row = nusc.get("sample_data", nusc.sample[0]["data"][channel])
        stamps, places = [first["timestamp"]], [ego_pose(nusc, first)[:2, 3]]
        while row["next"]:
            row = nusc.get("sample_data", row["next"])
            assert (rich.out / row["filename"]).is_file() and row["is_key_frame"] == row["filename"].startswith(
                "samples"
            )
            stamps.append(row["timestamp"])
            places.append(ego_pose(nusc, row)[:2, 3])
        assert np.diff(stamps).tolist() == [250_000] * 2
        speed = np.linalg.norm(np.diff(places, axis=0), axis=1) / 0.25
        assert np.ptp(speed) < 0.5  # the ego moves on evenly


def test_cameras_see_their_own_moment(nusc, rich: SynthConfig) -> None:
    sample = nusc.sample[1]
    rows = [nusc.get("sample_data", token) for channel, token in sample["data"].items() if channel != "LIDAR_TOP"]
    offsets = {row["channel"]: row["timestamp"] - sample["timestamp"] for row in rows}
    assert offsets["CAM_FRONT_LEFT"] < offsets["CAM_FRONT"] < offsets["CAM_FRONT_RIGHT"]
    assert max(offsets.values()) - min(offsets.values()) <= 40_000 and abs(offsets["CAM_FRONT"]) < 500
    front, back = (
        ego_pose(nusc, row)[:2, 3] for row in sorted(rows, key=lambda row: row["timestamp"])[:: len(rows) - 1]
    )
    seconds = (max(offsets.values()) - min(offsets.values())) / 1e6
    tokens = [sample["data"]["CAM_FRONT"], nusc.sample[0]["data"]["CAM_FRONT"]]
    later, earlier = (ego_pose(nusc, nusc.get("sample_data", token))[:2, 3] for token in tokens)
    assert np.linalg.norm(back - front) / seconds == pytest.approx(np.linalg.norm(later - earlier) / 0.5, abs=1.0)


def test_a_set_without_masks_says_so(dataset: SynthConfig) -> None:
    picture = next((dataset.out / "samples" / "CAM_FRONT").iterdir())
    for read, option in ((read_mask, "--masks"), (read_depth, "--depth")):
        with pytest.raises(DataError, match=option):
            read(dataset.out, str(Path("samples/CAM_FRONT") / picture.name))
