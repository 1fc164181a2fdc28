"""T4 data sets: boxes on painted pictures and in clouds, planted mistakes, and data sets that are unfit."""

import json
import shutil

import numpy as np
import pytest
from support.checkout import ROOT
from support.small_log import K, check_agreement, global_from_ego
from support.t4_set import DATA_SET, LIDAR, YAWS, changed, write_t4
from typer.testing import CliRunner

from kd_perception.data_check.command import examine
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, read_lidar, scene_names, scene_samples
from kd_perception.datasets.timeline import camera_timelines
from kd_perception.datasets.versions import T4_VERSION
from kd_perception.errors import CalibrationError, ConfigError, DataError
from kd_perception.geometry.classes import read_classes
from kd_perception.imports.command import app
from kd_perception.imports.t4 import import_t4
from kd_perception.imports.t4_names import category
from kd_perception.imports.t4_tables import lens
from kd_perception.imports.written import LogImport
from kd_perception.rig_check.finding import Severity

CLASSES = read_classes(ROOT / "config" / "classes" / "t4.yaml")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_t4(tmp_path_factory.mktemp("t4"))


@pytest.fixture
def copied(made, tmp_path):
    """A data set of its own, which may be changed."""
    return shutil.copytree(made, tmp_path / DATA_SET)


def imported(source, out, hertz=0.0, **options):
    """The data set, and what was said."""
    written = import_t4(LogImport(source, out, hertz, **options))
    return open_nuscenes(out, T4_VERSION), written


def test_boxes_lie_on_their_pictures_and_hold_their_points(made, tmp_path):
    nusc, written = imported(made, tmp_path / "out")
    check_agreement(nusc, CLASSES)
    assert (written.keyframes, written.boxes, written.files, written.problems) == (3, 18, 6 * 12, [])
    assert scene_names(nusc) == [DATA_SET] and nusc.scene[0]["description"] == "project_scene"
    findings = examine(nusc, CLASSES).findings
    assert [finding.sentence for finding in findings if finding.severity is not Severity.note] == []


def test_rigs_clouds_and_what_lies_between_come_over(made, tmp_path):
    nusc, _ = imported(made, tmp_path / "out")
    sample = scene_samples(nusc, DATA_SET)[1]
    frame = load_frame(nusc, sample)
    assert [image.camera.name for image in frame.images][:2] == ["CAM_FRONT", "CAM_FRONT_RIGHT"]
    np.testing.assert_allclose(frame.images[0].camera.integer_centred_intrinsics(), K)
    np.testing.assert_allclose(frame.global_from_ego, global_from_ego(0.52), atol=1e-9)
    (lidar,) = nusc.rig_of(sample).lidar_rows(nusc, sample)
    points = read_lidar(nusc, lidar)
    assert (points[:, 3] == 40.0).all() and not points[:, 4].any()  # the fifth column is no ring
    timeline = camera_timelines(nusc, [DATA_SET])[DATA_SET]
    assert len(timeline.stamps_us) == 12 and timeline.is_keyframe.sum() == 3
    assert {row["channel"] for row in nusc.sensor} == {*YAWS, LIDAR}


def test_names_become_nuscenes_and_the_rest_stays(made, tmp_path):
    nusc, _ = imported(made, tmp_path / "out")
    assert [row["name"] for row in nusc.category] == ["vehicle.car"]
    row = nusc.sample_annotation[0]
    names = [nusc.get("attribute", token)["name"] for token in row["attribute_tokens"]]
    assert (names, row["t4_attributes"]) == (["vehicle.parked"], ["occlusion_state.none", "vehicle_state.parked"])
    assert nusc.get("visibility", row["visibility_token"])["level"] == "v60-80"
    assert row["automatic_annotation"] and row["autolabel_metadata"] == [{"name": "made", "score": 0.9}]
    driven = next(row for row in nusc.sample_annotation if row["t4_attributes"][1] == "vehicle_state.driving")
    assert driven["attribute_tokens"] == []  # a driver may wait: nuScenes tells moving from stopped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("car", "vehicle.car"),
        ("CAR", "vehicle.car"),
        ("vehicle.car", "vehicle.car"),
        ("vehicle.bus (bendy & rigid)", "vehicle.bus.rigid"),
        ("motorbike", "vehicle.motorcycle"),
        ("pedestrian.adult", "human.pedestrian.adult"),
        ("fire_truck", "t4.fire_truck"),
        ("vehicle.fire", "t4.fire_truck"),
        ("shopping cart", "t4.shopping cart"),
    ],
)
def test_categories_by_all_their_spellings(name, expected):
    assert category(name) == expected


def test_every_class_of_the_list_is_a_category_of_the_import():
    assert {category(name) for name in CLASSES.label_of_category} == set(CLASSES.label_of_category)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ("none", ())),
        ([0.0] * 14, ("none", ())),
        ([-0.1, 0.02, 0.001, 0.002], ("plumb_bob", (-0.1, 0.02, 0.001, 0.002, 0.0))),
        ([-0.1, 0.02, 0.001, 0.002, 0.003], ("plumb_bob", (-0.1, 0.02, 0.001, 0.002, 0.003))),
        ([*[0.1] * 8, 0.0, 0.0, 0.0, 0.0], ("rational_polynomial", (0.1,) * 8)),
    ],
)
def test_lenses_in_opencvs_order(given, expected):
    assert lens(given) == expected


def test_lenses_that_nobody_here_has_are_refused():
    with pytest.raises(CalibrationError, match="9 coefficients other than 0, at most 8 are supported"):
        lens([0.1] * 9)


def test_a_lens_comes_over(copied, tmp_path):
    def bend(rows):
        rows[0]["camera_distortion"] = [-0.2, 0.05, 0.0, 0.0, 0.0]

    changed(copied, "calibrated_sensor", bend)
    nusc, _ = imported(copied, tmp_path / "out", keyframes_only=True)
    camera = load_frame(nusc, scene_samples(nusc, DATA_SET)[0]).images[0].camera
    assert (camera.distortion_model, camera.distortion) == ("plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0))


def of_all(key, change):
    """Change a field of every row."""

    def apply(rows):
        for row in rows:
            row[key] = change(row[key])

    return apply


def xyzw(rotation):
    """As if the order were x, y, z, w."""
    return [*rotation[1:], rotation[0]]


def inverse(rotation):
    """The rotation the other way."""
    return [-rotation[0], *rotation[1:]]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("sample_annotation", of_all("size", lambda size: [size[1], size[0], size[2]])),
        ("sample_annotation", of_all("rotation", xyzw)),
        ("sample_annotation", of_all("rotation", inverse)),
        ("sample_annotation", of_all("translation", lambda place: [*place[:2], place[2] - 0.8])),
        ("calibrated_sensor", of_all("rotation", inverse)),
        ("ego_pose", of_all("rotation", inverse)),
        ("calibrated_sensor", of_all("camera_intrinsic", lambda k: [k[0][:2] + [121.0], k[1], k[2]] if k else k)),
    ],
)
def test_planted_mistakes_are_seen(copied, tmp_path, table, change):
    """The checks of this test have teeth: each convention, read otherwise, puts boxes elsewhere."""
    changed(copied, table, change)
    nusc, _ = imported(copied, tmp_path / "out", keyframes_only=True)
    with pytest.raises(AssertionError):
        check_agreement(nusc, CLASSES)


def test_keyframes_can_be_thinned_and_tracks_go_on(made, tmp_path):
    nusc, written = imported(made, tmp_path / "out", 1.0)
    assert (written.keyframes, written.files) == (2, 6 * 12)
    assert camera_timelines(nusc, [DATA_SET])[DATA_SET].is_keyframe.sum() == 2
    check_agreement(nusc, CLASSES)
    _, written = imported(made, tmp_path / "thin", 1.0, keyframes_only=True, copy=True)
    assert written.files == 6 * 2 and not next((tmp_path / "thin/samples/CAM_BACK").iterdir()).is_symlink()


def test_several_data_sets_versions_and_one_without_labels(made, tmp_path):
    write_t4(tmp_path / "all", annotated=False, name="plain")
    shutil.copytree(made, tmp_path / "all" / "labelled" / "0")
    (tmp_path / "all" / "labelled" / "1").mkdir()  # a version that is not there yet
    nusc, written = imported(tmp_path / "all", tmp_path / "out", keyframes_only=True)
    assert scene_names(nusc) == ["labelled", "plain"]
    assert (written.keyframes, written.boxes) == (6, 18)
    assert written.problems == ["plain has no annotation: it is imported without labels"]


def test_invalid_files_and_2d_objects_are_left_out(copied, tmp_path):
    changed(copied, "sample_data", lambda rows: rows[0].__setitem__("is_valid", False))
    changed(
        copied,
        "instance",
        lambda rows: rows.append(
            {"token": "flat", "category_token": "traffic_light", "first_annotation_token": "", "nbr_annotations": 0}
        ),
    )
    (copied / "annotation" / "object_ann.json").write_text("[{}]")
    nusc, written = imported(copied, tmp_path / "out")
    assert written.problems == [f"{DATA_SET}: 1 files are marked as not valid and are left out"]
    assert len(nusc.instance) == 6 and [row["name"] for row in nusc.category] == ["vehicle.car"]


def test_clouds_of_more_columns_by_their_info_file(copied, tmp_path):
    (copied / "info.json").write_text(json.dumps({"num_pts_feats": 7}))
    for path in (copied / "data" / LIDAR).iterdir():
        points = np.fromfile(path, np.float32).reshape(-1, 5)
        np.pad(points, ((0, 0), (0, 2))).tofile(path)
    with pytest.raises(DataError, match="its rows are not of 5 columns; say how"):
        imported(copied, tmp_path / "no")

    def declare(rows):
        for row in rows:
            if LIDAR in row["filename"]:
                row["info_filename"] = "info.json"

    changed(copied, "sample_data", declare)
    nusc, _ = imported(copied, tmp_path / "out", keyframes_only=True)
    check_agreement(nusc, CLASSES)


def first(key, value):
    """Set a field of the first row."""
    return lambda rows: rows[0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "annotation" / "ego_pose.json").unlink(), "table .*ego_pose.json cannot be read"),
        (lambda root: (root / "annotation" / "sample.json").write_text("[{"), "table .*sample.json is no JSON"),
        (lambda root: changed(root, "sample_annotation", first("size", [0, 1, 1])), "its size .* is not width, length"),
        (lambda root: changed(root, "ego_pose", first("rotation", [0, 0, 0, 0])), "is no quaternion"),
        (lambda root: changed(root, "instance", first("category_token", "x")), "category_token 'x' is not in category"),
        (
            lambda root: changed(root, "calibrated_sensor", first("camera_distortion", [0.1] * 12)),
            "of CAM_FRONT: camera_distortion has 12",
        ),
        (lambda root: (root / "data/CAM_BACK/5.png").unlink(), "1 files are missing in .*5.png; restore"),
        (lambda root: (root / "data/CAM_BACK/5.png").write_bytes(b""), "5.png is empty"),
        (lambda root: (root / "data" / LIDAR / "5.pcd.bin").write_bytes(b"1234567"), "is truncated: 7 bytes"),
        (lambda root: (root / "data/CAM_BACK/0.png").write_bytes(b"nothing"), "is neither JPEG nor PNG"),
        (lambda root: changed(root, "sample_data", of_all("width", lambda width: width * 2)), "is calibrated for 640x"),
    ],
)
def test_damaged_data_sets_are_refused_and_nothing_is_written(copied, tmp_path, damage, message):
    damage(copied)
    with pytest.raises(DataError, match=message):
        imported(copied, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_folder_and_an_unfit_place_are_refused(made, tmp_path):
    with pytest.raises(DataError, match="is no T4 data set and holds none"):
        imported(tmp_path, tmp_path.with_name("out"))
    with pytest.raises(ConfigError, match="lie in each other"):
        imported(made, made)
    (tmp_path / "out" / T4_VERSION).mkdir(parents=True)
    (tmp_path / "out" / T4_VERSION / "scene.json").touch()
    with pytest.raises(ConfigError, match="holds a data set v1.0-t4 already"):
        imported(made, tmp_path / "out")


def test_the_command_says_what_it_wrote(made, tmp_path):
    done = CliRunner().invoke(app, ["t4", str(made), "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "version v1.0-t4: 3 keyframes, 18 boxes, 72 files" in done.output
