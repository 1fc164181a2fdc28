"""Detections of an imported KITTI data set as KITTI's result files, and `kd eval --kitti`."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.fake_student import SIZE, YAW, paint, write_fake_student
from support.kitti_folder import BLACK, write_frame
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.real_data import real_data

from kd_perception.datasets.kitti_labels import (
    DONT_CARE,
    boxes_in_ego,
    read_calibration,
    read_labels,
    read_results,
)
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.datasets.versions import KITTI_VERSION
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.kitti_overlap import share_covered
from kd_perception.evaluation.kitti_results import KittiFolder, result_rows
from kd_perception.evaluation.offline import evaluate
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList, HeadGroup, ObjectClass
from kd_perception.imports.kitti import import_kitti

NAMES = ("000003", "000004", "000005")
PICTURE = (1224, 370)  # width, height
CAR, BUS, PEDESTRIAN = (NUSCENES.label(name) for name in ("car", "bus", "pedestrian"))


def boxes_at(*centres, labels=None):
    """Cars of the fake student's size and heading, or others, in ego."""
    count = len(centres)
    labels = [CAR] * count if labels is None else labels
    sizes, yaws, speeds = np.tile(SIZE, (count, 1)), np.full(count, YAW), np.zeros((count, 2))
    return Boxes(np.array(centres, float), sizes, yaws, speeds, np.array(labels), np.full(count, 0.75))


@pytest.fixture
def calibration(tmp_path):
    """The made one: camera 2 is 0.27 m ahead of the velodyne's origin, 0.06 m to the left, 1.65 m high."""
    write_frame(tmp_path / "made")
    return read_calibration(tmp_path / "made" / "training" / "calib" / "000007.txt")


def test_a_box_becomes_a_row_by_hand(calibration):
    (row,) = result_rows(boxes_at([20.27, 0.0, 0.75]), calibration, PICTURE)
    assert (row.kind, row.truncated, row.occluded, row.score) == ("Car", -1.0, -1, 0.75)
    np.testing.assert_allclose(row.location, [0.0, 1.65, 20.0], atol=1e-9)
    np.testing.assert_allclose(row.size, [1.5, 2.0, 4.0])
    np.testing.assert_allclose([row.rotation_y, row.alpha], [-YAW - np.pi / 2] * 2)
    cos, sin = np.cos(YAW), np.sin(YAW)  # the nearest corner gives the bottom, the one to the right of it the border
    np.testing.assert_allclose(row.box[3], 180.0 + 700.0 * 1.65 / (20.0 - 2 * cos - sin))
    across, ahead = 2 * sin + cos, 20.0 - 2 * cos + sin
    np.testing.assert_allclose(row.box[2], 600.0 + 700.0 * (across + 0.06) / ahead)


def test_alpha_is_the_heading_from_the_ray_to_the_box(calibration):
    (row,) = result_rows(boxes_at([10.27, -10.0, 0.75]), calibration, PICTURE)
    np.testing.assert_allclose(row.alpha, row.rotation_y - np.pi / 4)


def test_boxes_end_at_the_border_and_what_the_picture_does_not_show_is_left_out(calibration):
    ahead, beside, behind, at_border = [20.0, 0.0, 0.75], [5.0, 30.0, 0.75], [-20.0, 0.0, 0.75], [10.0, 9.0, 0.75]
    rows = result_rows(boxes_at(ahead, beside, behind, at_border), calibration, PICTURE)
    assert [round(row.location[2]) for row in rows] == [20, 10]
    assert rows[1].box[0] == 0.0 < rows[1].box[2]


def test_a_box_around_the_camera_is_cut_at_its_plane(calibration):
    (row,) = result_rows(boxes_at([1.0, 0.0, 0.75]), calibration, PICTURE)
    assert (row.box >= 0.0).all() and row.box[2] <= 1223.0 and row.box[3] == 369.0
    assert row.box[1] > 180.0  # its top, 1.5 m high, is below the camera


def test_classes_that_kitti_lacks_are_left_out(calibration):
    centres = [[20.0, 0.0, 0.75], [25.0, 3.0, 0.75], [15.0, -3.0, 0.75]]
    rows = result_rows(boxes_at(*centres, labels=[BUS, PEDESTRIAN, CAR]), calibration, PICTURE)
    assert [row.kind for row in rows] == ["Pedestrian", "Car"]


def test_real_labels_come_back_with_their_boxes_in_the_picture():
    source = real_data("kitti-real") / "training"
    for name in ("000000", "000001"):
        labels = [row for row in read_labels(source / "label_2" / f"{name}.txt") if row.kind != DONT_CARE]
        kinds = [ObjectClass(row.kind, (0, 0, 0), 50.0, (row.kind,)) for row in labels]
        classes = ClassList((HeadGroup(1.0, tuple(kinds)),))
        calibration = read_calibration(source / "calib" / f"{name}.txt")
        boxes = replace(boxes_in_ego(labels, calibration), classes=classes, label=np.arange(len(labels)))
        rows = result_rows(boxes, calibration, PICTURE)
        assert [row.kind for row in rows] == [row.kind for row in labels]
        for ours, theirs in zip(rows, labels, strict=True):
            np.testing.assert_allclose(ours.location, theirs.location, atol=1e-9)
            np.testing.assert_allclose(ours.alpha, theirs.alpha, atol=0.02)
            (share,) = share_covered(ours.box[None], theirs.box[None])
            (back,) = share_covered(theirs.box[None], ours.box[None])
            assert min(share, back) > 0.85  # theirs are drawn by hand, up to 10 pixels away


@pytest.fixture
def imported(tmp_path):
    """Three frames whose pictures show the fake student a car; (KITTI's folder, the data set)."""
    source, centre = tmp_path / "kitti", [20.5, -2.5, 0.75]
    write_frame(source, NAMES[0])
    calibration = read_calibration(source / "training" / "calib" / f"{NAMES[0]}.txt")
    picture = BLACK.copy()
    paint([picture], [calibration.camera(2, *PICTURE)], centre[:2], "car")
    (row,) = result_rows(boxes_at(centre), calibration, PICTURE)
    label = replace(row, truncated=0.0, occluded=0, score=None).row()
    for name in NAMES:
        write_frame(source, name, [label], picture[..., ::-1])
        cloud = np.tile(np.array([20.5, -2.5, -1.0, 0.5], np.float32), (5, 1))
        cloud.tofile(source / "training" / "velodyne" / f"{name}.bin")
    import_kitti(source, tmp_path / "data")
    return source, tmp_path / "data"


def run_eval(tmp_path, dataroot, **options):
    student = write_fake_student(tmp_path / "fake.onnx")
    evaluate(student=student, dataroot=dataroot, out=tmp_path / "out", engine="onnxruntime", threads=1, **options)


def test_kd_eval_writes_result_files_and_kittis_ap(imported, tmp_path, capsys):
    source, dataroot = imported
    stale = tmp_path / "out" / "kitti" / "000099.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    run_eval(tmp_path, dataroot, version=KITTI_VERSION, kitti=source)
    files = sorted((tmp_path / "out" / "kitti").iterdir())
    assert [path.stem for path in files] == list(NAMES)
    (found,) = read_results(files[0])
    assert found.kind == "Car" and found.score > 0.5
    printed = capsys.readouterr().out
    assert "KITTI object detection" in printed
    figures = json.loads((tmp_path / "out" / "kitti_ap.json").read_text())
    car = {row["measure"]: row for row in figures if row["class"] == "Car"}
    assert car["3D"]["objects"] == {"easy": 3, "moderate": 3, "hard": 3}
    assert all(car[measure]["ap"] == {"easy": 5.0, "moderate": 5.0, "hard": 5.0} for measure in ("2D", "BEV", "3D"))


def test_what_does_not_fit_is_said_before_anything_runs(imported, tmp_path):
    source, dataroot = imported
    nusc = open_nuscenes(dataroot, KITTI_VERSION)
    with pytest.raises(DataError, match="has neither calib/ nor training/calib/"):
        KittiFolder.of(tmp_path, nusc, [f"kitti-{name}" for name in NAMES], NUSCENES)
    other = ClassList((HeadGroup(1.0, (ObjectClass("forklift", (0, 0, 0), 50.0, ("forklift",)),)),))
    with pytest.raises(ConfigError, match="none of forklift is a class of KITTI: Car, "):
        KittiFolder.of(source, nusc, ["kitti-000003"], other)
    (source / "training" / "label_2" / "000004.txt").unlink()
    with pytest.raises(DataError, match="label_2 has no 000004.txt; restore it"):
        run_eval(tmp_path, dataroot, version=KITTI_VERSION, kitti=source)
    data = write_dataset(tmp_path / "nuscenes")
    with pytest.raises(ConfigError, match=f"scene '{SCENES[0]}' is no frame of kd import kitti"):
        run_eval(tmp_path, data, version=VERSION, kitti=source)
    assert not (tmp_path / "out").exists()
