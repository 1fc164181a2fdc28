"""The nuScenes edge: calibration, poses and boxes as the devkit sees them, and what missing tables and files say."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes.eval.detection.utils import category_to_detection_name
from pyquaternion import Quaternion
from support.nuscenes_tables import SCENES, THINGS, VERSION, ego_at, painted_rig, write_dataset
from support.real_data import real_data

from kd_perception.datasets.nuscenes import (
    CAMERA_CHANNELS,
    annotations,
    ego_pose,
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_names,
    scene_samples,
    sensor_transform,
)
from kd_perception.datasets.rigs import LIDAR
from kd_perception.errors import DataError
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import apply, wrap_angle


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def nusc(root: Path):
    return open_nuscenes(root, VERSION)


def test_scenes_and_samples_come_in_order(nusc):
    assert scene_names(nusc) == list(SCENES)
    times = [nusc.get("sample", token)["timestamp"] for token in scene_samples(nusc, SCENES[1])]
    assert len(times) == 3 and times == sorted(times)


def test_a_frame_is_the_anchor_s_moment(nusc):
    frame = load_frame(nusc, scene_samples(nusc, SCENES[0])[0])
    assert [image.camera.name for image in frame.images] == list(CAMERA_CHANNELS)
    assert frame.timestamp_us == frame.images[0].timestamp_us
    seconds = (frame.timestamp_us - 1_600_000_000_000_000) / 1e6
    np.testing.assert_allclose(frame.global_from_ego, ego_at(0, seconds), atol=1e-9)
    assert all(image.path.is_file() for image in frame.images)


def test_cameras_keep_their_calibration(nusc):
    """The tables hold integer-centred K; reading shifts it back to the rig that was written."""
    frame = load_frame(nusc, scene_samples(nusc, SCENES[0])[0])
    for image, written in zip(frame.images, painted_rig().values(), strict=True):
        np.testing.assert_allclose(image.camera.intrinsics, written.intrinsics, atol=1e-9)
        np.testing.assert_allclose(image.camera.ego_from_camera, written.ego_from_camera, atol=1e-9)


def test_truth_is_in_ego_with_length_before_width(nusc):
    token = scene_samples(nusc, SCENES[1])[1]
    frame = load_frame(nusc, token)
    boxes, points = ground_truth_boxes(nusc, token, frame.global_from_ego)
    assert [CLASSES[label] for label in boxes.label] == [thing.class_name for thing in THINGS]
    assert points.tolist() == [thing.points for thing in THINGS]
    np.testing.assert_allclose(boxes.size, np.tile([4.0, 2.0, 1.5], (len(THINGS), 1)))
    assert_same_as_devkit(nusc, token, frame.global_from_ego)


def assert_same_as_devkit(nusc, sample_token: str, global_from_ego: np.ndarray) -> None:
    """Our boxes, moved to global, have the devkit's corners and headings; boxes of other categories are left out."""
    boxes, _ = ground_truth_boxes(nusc, sample_token, global_from_ego)
    in_global = boxes.transformed(global_from_ego)
    expected = [nusc.get_box(token) for token in nusc.get("sample", sample_token)["anns"]]
    expected = [box for box in expected if category_to_detection_name(box.name) is not None]
    assert len(expected) == len(boxes) > 0
    for i, box in enumerate(expected):
        np.testing.assert_allclose(in_global.center[i], box.center, atol=1e-6)
        # Our box is upright in ego: where the ego is tilted by 3 degrees, its heading turns by up to 0.1 degree.
        expected_yaw = box.orientation.yaw_pitch_roll[0]
        assert abs(wrap_angle(in_global.yaw[i] - expected_yaw)) < 3e-3
        np.testing.assert_allclose(in_global.size[i], box.wlh[[1, 0, 2]])
        box.orientation = Quaternion(axis=[0, 0, 1], angle=expected_yaw)
        apart = np.linalg.norm(in_global.corners()[i][:, None] - box.corners().T[None], axis=-1)
        assert sorted(apart.argmin(axis=1)) == list(range(8)) and apart.min(axis=1).max() < 0.03


def test_a_copy_of_the_tables_with_some_annotations(nusc):
    """The devkit's list of tokens and our index of rows say the same; the tables themselves stay."""
    first, *others = [token for scene in SCENES for token in scene_samples(nusc, scene)]
    whole = {token: list(nusc.get("sample", token)["anns"]) for token in (first, *others)}
    some = nusc.with_annotations(
        lambda token, numbers: np.arange(len(numbers)) % 2 == 1 if token == first else np.ones(len(numbers), bool)
    )
    assert some.get("sample", first)["anns"] == whole[first][1::2] and whole[first][1::2]
    assert all(some.get("sample", token)["anns"] == whole[token] for token in others)
    assert len(annotations(some, first).boxes) == len(whole[first][1::2]) < len(annotations(nusc, first).boxes)
    assert nusc.get("sample", first)["anns"] == whole[first]


def test_lidar_points_and_their_mounting(nusc):
    sample = nusc.get("sample", scene_samples(nusc, SCENES[0])[0])
    row = nusc.get("sample_data", sample["data"][LIDAR])
    assert read_lidar(nusc, row).shape == (500, 5)
    np.testing.assert_allclose(sensor_transform(nusc, row)[:3, 3], [0.9, 0.0, 1.8])


def test_missing_folder_version_and_scene_are_named(root: Path, nusc):
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        open_nuscenes(root / "nowhere", VERSION)
    with pytest.raises(DataError, match=rf"no version 'v1\.0-mini' \(found: {VERSION}\)"):
        open_nuscenes(root, "v1.0-mini")
    with pytest.raises(DataError, match=r"scene 'scene-9' is not in .*it has: scene-north, scene-east"):
        scene_samples(nusc, "scene-9")


@pytest.mark.parametrize("table", ["sample_data", "ego_pose", "calibrated_sensor", "sample_annotation", "scene", "map"])
def test_a_missing_or_damaged_table_is_a_data_error(root: Path, tmp_path: Path, table: str):
    shutil.copytree(root / VERSION, tmp_path / VERSION)
    path = tmp_path / VERSION / f"{table}.json"
    for damage in (lambda: path.write_text(path.read_text()[:-20]), path.unlink):
        damage()
        with pytest.raises(DataError, match=r"tables in .* cannot be read"):
            open_nuscenes(tmp_path, VERSION)


def test_missing_and_cut_point_clouds_are_named(nusc, tmp_path: Path):
    sample = nusc.get("sample", scene_samples(nusc, SCENES[0])[0])
    row = dict(nusc.get("sample_data", sample["data"][LIDAR]))
    whole = Path(nusc.dataroot) / row["filename"]
    cut = tmp_path / "cut.pcd.bin"
    cut.write_bytes(whole.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"cut\.pcd\.bin is truncated"):
        read_lidar(nusc, row | {"filename": str(cut)})
    with pytest.raises(DataError, match=r"gone\.pcd\.bin is missing"):
        read_lidar(nusc, row | {"filename": str(tmp_path / "gone.pcd.bin")})


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "version", "samples"),
    [
        ("nuscenes-real", "v1.0-mini", 1),
        ("nuscenes-real-cameraonly", "v1.0-trainval", 1),
        ("nuscenes-minival-gt", "v1.0-mini", 81),
    ],
)
def test_real_tables(folder: str, version: str, samples: int):
    nusc = open_nuscenes(real_data(folder), version)
    tokens = [token for scene in scene_names(nusc) for token in scene_samples(nusc, scene)]
    assert len(tokens) == samples
    for token in tokens[:: max(1, samples // 5)]:
        frame = load_frame(nusc, token)
        assert len(frame.images) == 6
        assert_same_as_devkit(nusc, token, frame.global_from_ego)


@pytest.mark.real_data
def test_real_boxes_hold_the_lidar_points_that_the_tables_count():
    """Sensor transforms and boxes together: the points inside each box, moved through ego, are as many as annotated."""
    nusc = open_nuscenes(real_data("nuscenes-real"), "v1.0-mini")
    sample = nusc.sample[0]
    row = nusc.get("sample_data", sample["data"][LIDAR])
    points = apply(sensor_transform(nusc, row), read_lidar(nusc, row)[:, :3].astype(np.float64))
    boxes, counted = ground_truth_boxes(
        nusc, sample["token"], ego_pose(nusc, row)
    )  # ego at the LiDAR's time, not the anchor's
    found = []
    for i in range(len(boxes)):
        offset = points - boxes.center[i]
        cos, sin = np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i])
        local = np.column_stack(
            [cos * offset[:, 0] + sin * offset[:, 1], -sin * offset[:, 0] + cos * offset[:, 1], offset[:, 2]]
        )
        found.append(int((np.abs(local) <= boxes.size[i] / 2).all(axis=1).sum()))
    difference = np.abs(np.array(found) - counted)
    assert np.median(difference) == 0 and difference.sum() <= 0.1 * counted.sum()
