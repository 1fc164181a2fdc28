"""Argoverse 2's logs as data sets: boxes on painted pictures and in clouds, planted mistakes, and unfit logs."""

import shutil

import numpy as np
import pytest
from support.av2_log import AXLE, LOG, changed, write_av2_log, write_cloud
from support.checkout import ROOT
from support.small_log import CARS, EXPOSED_US, START_US, K, check_agreement, global_from_ego, mounting
from typer.testing import CliRunner

from kd_perception.data_check.command import examine
from kd_perception.datasets.clouds import read_cloud
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.timeline import camera_timelines
from kd_perception.datasets.versions import AV2_VERSION
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import read_classes
from kd_perception.imports.av2 import RING, STEREO, import_av2
from kd_perception.imports.av2_log import BOXES_FILE, CATEGORIES, OTHERS, POSES_FILE, category, read_poses
from kd_perception.imports.command import app
from kd_perception.imports.written import LogImport
from kd_perception.rig_check.finding import Severity

CLASSES = read_classes(ROOT / "config" / "classes" / "av2.yaml")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_av2_log(tmp_path_factory.mktemp("av2"))


@pytest.fixture
def copied(log, tmp_path):
    """A log of its own, whose calibration, poses and labels may be changed."""
    return shutil.copytree(log, tmp_path / LOG)


def imported(source, out, hertz=2.0, **options):
    """The data set of a log, and what was said."""
    written = import_av2(LogImport(source, out, hertz, **options))
    return open_nuscenes(out, AV2_VERSION), written


def test_boxes_lie_on_their_pictures_and_hold_their_points(log, tmp_path):
    nusc, written = imported(log, tmp_path / "out")
    check_agreement(nusc, CLASSES)
    assert (written.keyframes, written.boxes, written.problems) == (3, 18, [])
    assert scene_names(nusc) == [LOG]
    (frame, *_) = [load_frame(nusc, token) for token in scene_samples(nusc, LOG)]
    assert [image.camera.name for image in frame.images] == list(RING)
    findings = examine(nusc, CLASSES).findings
    assert [finding.sentence for finding in findings if finding.severity is not Severity.note] == []


def test_ego_stands_on_the_road_and_lenses_are_ideal(log, tmp_path):
    nusc, _ = imported(log, tmp_path / "out")
    frame = load_frame(nusc, scene_samples(nusc, LOG)[0])
    assert frame.timestamp_us == START_US + EXPOSED_US
    np.testing.assert_allclose(frame.global_from_ego, global_from_ego(EXPOSED_US / 1e6), atol=1e-9)
    camera = frame.images[0].camera
    np.testing.assert_allclose(camera.ego_from_camera, mounting(0.0), atol=1e-9)
    np.testing.assert_allclose(camera.integer_centred_intrinsics(), K)
    assert camera.distortion_model == "none"  # pictures are undistorted, though intrinsics.feather has k1, k2, k3


def test_what_lies_between_keyframes_is_swept_and_files_are_links(log, tmp_path):
    nusc, written = imported(log, tmp_path / "out")
    timeline = camera_timelines(nusc, [LOG])[LOG]
    assert len(timeline.stamps_us) == 12 and timeline.is_keyframe.sum() == 3
    assert written.files == 8 * 12
    assert all((tmp_path / "out" / row["filename"]).is_symlink() for row in nusc.sample_data)
    all_labels, written = imported(log, tmp_path / "all", 0.0, keyframes_only=True, copy=True)
    assert (written.keyframes, written.boxes, written.files) == (12, 12 * len(CARS), 8 * 12)
    assert not any((tmp_path / "all" / row["filename"]).is_symlink() for row in all_labels.sample_data)


def test_stereo_cameras_come_when_asked_for(log, tmp_path):
    import_av2(LogImport(log, tmp_path / "out", 2.0, keyframes_only=True), (*RING, *STEREO))
    nusc = open_nuscenes(tmp_path / "out", AV2_VERSION)
    assert {row["channel"] for row in nusc.sensor} == {*RING, *STEREO, "lidar"}


def swap(first, second):
    """Exchange two columns."""

    def change(columns):
        columns[first], columns[second] = columns[second], columns[first]

    return change


def shift_quaternion(columns):
    """As if the order were x, y, z, w."""
    columns["qx"], columns["qy"], columns["qz"], columns["qw"] = (columns[key] for key in ("qw", "qx", "qy", "qz"))


def lower(columns):
    """As if the centre of the bottom were given."""
    columns["tz_m"] = [z - height / 2 for z, height in zip(columns["tz_m"], columns["height_m"], strict=True)]


def invert_rotation(columns):
    """As if sensors were given from the vehicle, not to it."""
    columns["qw"] = [-value for value in columns["qw"]]


CALIBRATION = "calibration/egovehicle_SE3_sensor.feather"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (BOXES_FILE, swap("length_m", "width_m")),
        (BOXES_FILE, lower),
        (BOXES_FILE, shift_quaternion),
        (BOXES_FILE, invert_rotation),
        (CALIBRATION, shift_quaternion),
        (CALIBRATION, invert_rotation),
        (POSES_FILE, invert_rotation),
        ("calibration/intrinsics.feather", swap("cx_px", "cy_px")),
    ],
)
def test_planted_mistakes_are_seen(copied, tmp_path, file, change):
    """The checks of this test have teeth: each convention, read otherwise, puts boxes elsewhere."""
    changed(copied / file, change)
    nusc, _ = imported(copied, tmp_path / "out", keyframes_only=True)
    with pytest.raises(AssertionError):
        check_agreement(nusc, CLASSES)


def test_logs_without_labels_and_folders_of_logs(log, copied, tmp_path):
    (copied / BOXES_FILE).unlink()
    second = shutil.copytree(log, tmp_path / "other")
    (tmp_path / "notes").mkdir()
    nusc, written = imported(tmp_path, tmp_path.with_name("out-of-logs"), keyframes_only=True)
    assert sorted(scene_names(nusc)) == sorted([LOG, second.name])
    assert (written.keyframes, written.boxes) == (6, 18)
    assert written.problems == [f"{LOG} has no annotations.feather: it is imported without labels"]


def test_unknown_classes_are_counted_and_taken_by_no_class(copied, tmp_path):
    def rename(columns):
        columns["category"][:2] = ["HOVERCRAFT", "BICYCLIST"]

    changed(copied / BOXES_FILE, rename)
    nusc, written = imported(copied, tmp_path / "out", keyframes_only=True)
    assert len(written.problems) == 1 and "1 of 'HOVERCRAFT'" in written.problems[0]
    assert {row["name"] for row in nusc.category} == {"vehicle.car", "av2.HOVERCRAFT", "av2.BICYCLIST"}


def test_every_class_of_the_list_is_a_category_of_the_import():
    known = {category(kind) for kind in (*CATEGORIES, *OTHERS)}
    assert set(CLASSES.label_of_category) <= known


def test_poses_between_those_of_the_file(log):
    poses = read_poses(log)
    between = START_US * 1000 + 7_000_000
    np.testing.assert_allclose(poses.city_from_ego(between), global_from_ego(0.007), atol=1e-4)
    assert poses.city_from_ego(START_US * 1000 - 1_000_000_000) is None


def test_a_moment_without_a_pose_is_left_out_and_counted(copied, tmp_path):
    def cut(columns):
        for values in columns.values():
            del values[12:]  # six sweeps and their pictures

    changed(copied / POSES_FILE, cut)
    _, written = imported(copied, tmp_path / "out")
    assert written.keyframes == 2
    assert any("files are of moments without a pose and are left out" in problem for problem in written.problems)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def sweep(folder):
    return sorted((folder / "sensors/lidar").iterdir())[3]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda log: (log / POSES_FILE).unlink(), "city_SE3_egovehicle.feather cannot be read"),
        (lambda log: (log / CALIBRATION).unlink(), "egovehicle_SE3_sensor.feather cannot be read"),
        (lambda log: cut(log / BOXES_FILE), "annotations.feather of .* is no whole feather file"),
        (lambda log: cut(sweep(log)), "1 of 12 clouds are cut or no feather files, the first is .*feather; restore"),
        (lambda log: changed(log / BOXES_FILE, lambda c: c.pop("track_uuid")), "has no column track_uuid, only"),
        (lambda log: changed(log / BOXES_FILE, lambda c: c["width_m"].__setitem__(4, -1.0)), "row 4: the size"),
        (
            lambda log: changed(
                log / POSES_FILE, lambda c: [c[key].__setitem__(2, 0.0) for key in ("qw", "qx", "qy", "qz")]
            ),
            "row 2: quaternion .* is no rotation",
        ),
        (
            lambda log: changed(log / "calibration/intrinsics.feather", lambda c: c["width_px"].__setitem__(0, 9)),
            "ring_front_center is calibrated for 9x240",
        ),
        (
            lambda log: changed(log / "calibration/intrinsics.feather", lambda c: c["fx_px"].__setitem__(0, 0.0)),
            "focal lengths must be positive",
        ),
    ],
)
def test_damaged_logs_are_refused_and_nothing_is_written(copied, tmp_path, damage, message):
    damage(copied)
    with pytest.raises(DataError, match=message):
        imported(copied, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_and_an_unfit_place_are_refused(log, tmp_path):
    with pytest.raises(DataError, match="is no Argoverse 2 log and holds none"):
        imported(tmp_path, tmp_path.with_name("out"))
    with pytest.raises(ConfigError, match="lie in each other"):
        imported(log, log / "out")
    with pytest.raises(ConfigError, match="--keyframe-hz -1 is no rate"):
        imported(log, tmp_path / "out", -1.0)
    (tmp_path / "out" / AV2_VERSION).mkdir(parents=True)
    (tmp_path / "out" / AV2_VERSION / "scene.json").touch()
    with pytest.raises(ConfigError, match="holds a data set v1.0-av2 already"):
        imported(log, tmp_path / "out")


def test_clouds_are_read_from_feather_files(tmp_path, monkeypatch):
    points = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 0.5]]) + AXLE
    write_cloud(tmp_path / "1.feather", points)
    read = read_cloud(tmp_path / "1.feather")
    np.testing.assert_allclose(read[:, :3], points, atol=2e-3)
    np.testing.assert_array_equal(read[:, 3:], [[0, 0], [1, 1]])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pyarrow is not installed.*pip install -r requirements/av2.txt"):
        read_cloud(tmp_path / "1.feather")


def test_the_command_says_what_it_wrote(log, tmp_path):
    arguments = ["av2", str(log), "--out", str(tmp_path / "out"), "--keyframe-hz", "1", "--keyframes-only"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "version v1.0-av2: 2 keyframes, 12 boxes, 16 files" in done.output
