"""KITTI's object benchmark as a nuScenes-format data set: conventions by round trips, and the real frames."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from support.checkout import ROOT
from support.kitti_folder import BASELINE, CAR, write_frame
from support.real_data import real_data

from kd_perception.datasets.kitti_labels import (
    LIDAR_HEIGHT,
    KittiCalibration,
    boxes_in_ego,
    place_in_rect,
    read_calibration,
    read_labels,
)
from kd_perception.datasets.nuscenes import (
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_names,
    scene_samples,
    sensor_transform,
)
from kd_perception.datasets.versions import KITTI_VERSION
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.box_geometry import count_points_in_boxes
from kd_perception.geometry.classes import read_classes
from kd_perception.geometry.transforms import apply, invert, make_transform
from kd_perception.imports.kitti import import_kitti

CLASSES = read_classes(ROOT / "config" / "classes" / "kitti.yaml")


@pytest.fixture
def made(tmp_path):
    source = write_frame(tmp_path / "kitti")
    import_kitti(source, tmp_path / "out")
    nusc = open_nuscenes(tmp_path / "out", KITTI_VERSION)
    (sample,) = scene_samples(nusc, "kitti-000007")
    return SimpleNamespace(source=source, out=tmp_path / "out", nusc=nusc, sample=sample)


def test_a_label_becomes_a_box_by_hand(made):
    frame = load_frame(made.nusc, made.sample)
    boxes, points = ground_truth_boxes(made.nusc, made.sample, frame.global_from_ego, CLASSES)
    # bottom centre at x 2 (right), y 1.65 (down), z 20 (ahead) of the camera; height 1.5, width 1.6, length 4
    height = LIDAR_HEIGHT - 0.08 - 1.65 + 0.75
    np.testing.assert_allclose(boxes.center, [[20.27, -2.0, height]], atol=1e-9)
    np.testing.assert_allclose(boxes.size, [[4.0, 1.6, 1.5]])
    np.testing.assert_allclose(boxes.yaw, [-0.3 - np.pi / 2])  # rotation_y 0 looks to the right
    assert np.isnan(boxes.velocity).all()
    assert points.tolist() == [1]


def test_cameras_stand_beside_camera_0_and_project_as_p2_does(made):
    (image,) = load_frame(made.nusc, made.sample).images
    assert (image.camera.name, image.camera.width, image.camera.height) == ("image_2", 1224, 370)
    np.testing.assert_allclose(image.camera.ego_from_camera[:3, 3], [0.27, BASELINE, LIDAR_HEIGHT - 0.08], atol=1e-12)
    in_rect = np.array([2.0, 1.0, 20.0])
    calibration = read_calibration(made.source / "training" / "calib" / "000007.txt")
    pixels, _, _ = image.camera.project(apply(calibration.ego_from_rect, in_rect[None]))
    u, v, depth = calibration.projections[2] @ [*in_rect, 1.0]
    np.testing.assert_allclose(pixels[0] - 0.5, [u / depth, v / depth])


def test_files_are_linked_and_clouds_and_ignored_regions_are_read(made):
    (image,) = load_frame(made.nusc, made.sample).images
    assert image.path.is_symlink() and image.read() == (made.source / "training/image_2/000007.png").read_bytes()
    (lidar,) = made.nusc.rig_of(made.sample).lidar_rows(made.nusc, made.sample)
    np.testing.assert_allclose(read_lidar(made.nusc, lidar)[2], [5.0, 5.0, -1.7, 255.0, 0.0], rtol=1e-6)
    (region,) = json.loads((made.out / KITTI_VERSION / "ignored_region.json").read_text())
    row = made.nusc.get("sample_data", region["sample_data_token"])
    assert (row["channel"], region["image_box"]) == ("image_2", [503.89, 169.71, 590.61, 190.13])
    (annotation,) = made.nusc.sample_annotation
    assert (annotation["occluded"], annotation["truncated"], annotation["visibility_token"]) == (1, 0.1, "2")


def test_copies_need_no_originals_and_frames_can_be_chosen(made, tmp_path):
    write_frame(made.source, "000008", labels=())
    import_kitti(made.source, tmp_path / "copied", names=["000008"], copy=True)
    nusc = open_nuscenes(tmp_path / "copied", KITTI_VERSION)
    assert scene_names(nusc) == ["kitti-000008"] and not nusc.sample_annotation
    (image,) = load_frame(nusc, nusc.sample[0]["token"]).images
    assert image.path.is_file() and not image.path.is_symlink()


@pytest.mark.parametrize("seed", range(4))
def test_any_box_and_calibration_survive_the_way_there_and_back(seed):
    rng = np.random.default_rng(seed)
    tilt = make_transform(np.array([1.0, *rng.uniform(-0.02, 0.02, 3)]), rng.uniform(-0.3, 0.3, 3))
    straight = make_transform(np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.zeros(3))
    calibration = KittiCalibration({}, tilt @ straight)
    objects = [
        SimpleNamespace(size=rng.uniform(0.5, 12, 3), location=rng.uniform(-40, 40, 3), rotation_y=turn)
        for turn in rng.uniform(-np.pi, np.pi, 20)
    ]
    size, location, turn = place_in_rect(boxes_in_ego(objects, calibration), calibration)
    np.testing.assert_allclose(size, [entry.size for entry in objects])
    np.testing.assert_allclose(location, [entry.location for entry in objects], atol=1e-9)
    np.testing.assert_allclose(turn, [entry.rotation_y for entry in objects], atol=1e-9)


def test_label_rows_are_written_as_they_were_read(made):
    rows = read_labels(made.source / "training" / "label_2" / "000007.txt")
    assert rows[0].row() == CAR


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("label_2", "Car 0 0 1", "line 1 is no label of 15 columns"),
        ("label_2", CAR.replace("1.50 1.60", "1.50 0.00"), "line 1: Car has no size"),
        ("label_2", CAR.replace("20.00", "nan"), "line 1 is no label"),
        ("calib", "P2: 1 2 3", "has no R0_rect of 9 numbers"),
        ("calib", None, "1 files are missing"),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(tmp_path, kind, text, message):
    source = write_frame(tmp_path / "kitti")
    path = source / "training" / kind / "000007.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message):
        import_kitti(source, tmp_path / "out")
    assert not (tmp_path / "out" / KITTI_VERSION).exists()


def test_a_foreign_folder_and_the_source_itself_are_refused(tmp_path):
    with pytest.raises(DataError, match="is no KITTI object data set"):
        import_kitti(tmp_path, tmp_path / "out")
    source = write_frame(tmp_path / "kitti")
    with pytest.raises(ConfigError, match="choose another folder for --out"):
        import_kitti(source, source / "training")


def test_real_boxes_lie_where_their_points_and_their_pictures_say(tmp_path):
    source = real_data("kitti-real")
    assert import_kitti(source, tmp_path) == 2
    nusc = open_nuscenes(tmp_path, KITTI_VERSION)
    counts, kinds = [], []
    for scene in scene_names(nusc):
        (sample,) = scene_samples(nusc, scene)
        frame = load_frame(nusc, sample)
        boxes, points = ground_truth_boxes(nusc, sample, frame.global_from_ego, CLASSES)
        (lidar,) = nusc.rig_of(sample).lidar_rows(nusc, sample)
        cloud = apply(sensor_transform(nusc, lidar), read_lidar(nusc, lidar)[:, :3].astype(float))
        np.testing.assert_array_equal(points, count_points_in_boxes(cloud, boxes.center, boxes.size, boxes.yaw))
        counts += points.tolist()
        kinds += [CLASSES.names[label] for label in boxes.label]
        _check_pictures(nusc, sample, frame)
    assert dict(zip(kinds, counts, strict=True)) == {"Pedestrian": 377, "Car": 9, "Cyclist": 18}


def _check_pictures(nusc, sample, frame):
    """Projected corners bound what the labellers drew."""
    (image,) = frame.images
    every = {row["category_name"] for row in nusc.sample_annotation}
    for category in every:
        classes = SimpleNamespace(label_of_category={category: 0})
        boxes, _ = ground_truth_boxes(nusc, sample, np.eye(4), classes)
        rows = [row for row in nusc.sample_annotation if row["category_name"] == category]
        rows = [row for row in rows if row["sample_token"] == sample]
        for corners, row in zip(boxes.corners(), rows, strict=True):
            pixels, _, _ = image.camera.project(corners)
            low, high = pixels.min(axis=0) - 0.5, pixels.max(axis=0) - 0.5
            assert _overlap(np.concatenate([low, high]), np.array(row["image_box"])) > 0.8


def _overlap(first, second):
    """Intersection over union of two rectangles (left, top, right, bottom)."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = np.prod(np.clip(sides, 0.0, None))
    return shared / (np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)


def test_round_trip_of_real_labels(tmp_path):
    source = real_data("kitti-real") / "training"
    for name in ("000000", "000001"):
        rows = [row for row in read_labels(source / "label_2" / f"{name}.txt") if row.kind != "DontCare"]
        calibration = read_calibration(source / "calib" / f"{name}.txt")
        size, location, turn = place_in_rect(boxes_in_ego(rows, calibration), calibration)
        np.testing.assert_allclose(size, [row.size for row in rows])
        np.testing.assert_allclose(location, [row.location for row in rows], atol=1e-9)
        np.testing.assert_allclose(turn, [row.rotation_y for row in rows], atol=1e-9)
        assert np.allclose(calibration.ego_from_rect @ invert(calibration.ego_from_rect), np.eye(4))
