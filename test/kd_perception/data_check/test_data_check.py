"""`kd data check`: planted mistakes are named, healthy data is accused of nothing."""

import json

import cv2
import numpy as np
import pytest
from support.planted import in_lidar_frame, planted, stated_velocities, swap_width_and_length, turn_yaw
from support.real_data import real_data
from support.rig_bag import rendered_bag
from support.small_street import VERSION, write_street
from support.synthetic import small_set
from support.two_scenes import twice
from typer.testing import CliRunner

from kd_perception.data_check.calibration import check_calibrations
from kd_perception.data_check.command import app, examine
from kd_perception.data_check.report import LABEL_COLUMNS, PAGE
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.datasets.versions import KITTI_VERSION
from kd_perception.geometry.classes import read_classes
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw, quaternion_of
from kd_perception.imports.kitti import import_kitti
from kd_perception.rig_check.finding import Severity
from kd_synthetic.dataset.tables import SYNTHETIC_VERSION


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streets")
    write_street(folder / "driven")
    write_street(folder / "parked", moving=False)
    write_street(folder / "foreign", moving=False, category="thing")
    return folder


def sentences(root, version=VERSION, **options):
    """What is said of a data set, without notes."""
    findings = examine(open_nuscenes(root, version), **options).findings
    return [finding.sentence for finding in findings if finding.severity is not Severity.note]


def changed(streets, tmp_path, change, street="driven"):
    return planted(streets / street, VERSION, tmp_path / "planted", change)


@pytest.mark.parametrize("street", ["driven", "parked"])
def test_healthy_streets_are_accused_of_nothing(streets, street):
    assert sentences(streets / street) == []


@pytest.mark.parametrize(
    ("street", "change", "expected"),
    [
        ("driven", swap_width_and_length, "they move along their shorter side, length 1.9 m, width 4.6 m"),
        ("parked", swap_width_and_length, "when turned by 90 degrees: length and width are swapped;"),
        ("foreign", swap_width_and_length, "length and width are swapped, or yaw is turned by 90 degrees"),
        ("driven", turn_yaw, "100% move across their heading: yaw is turned by about -90 degrees;"),
        ("parked", turn_yaw, "when turned by 90 degrees: yaw is turned by 90 degrees;"),
    ],
)
def test_sizes_and_headings_are_named(streets, tmp_path, street, change, expected):
    found = [text for text in sentences(changed(streets, tmp_path, change, street)) if "no category" not in text]
    assert len(found) == 1 and expected in found[0]


def test_boxes_that_move_backwards_are_named(streets, tmp_path):
    def back(rows):
        turn_yaw(rows)
        turn_yaw(rows)

    (sentence,) = sentences(changed(streets, tmp_path, back))
    assert "move backwards: yaw is turned by 180 degrees" in sentence


def test_swapped_and_turned_boxes_lie_right_and_their_heading_is_named(streets, tmp_path):
    def both(rows):
        swap_width_and_length(rows)
        turn_yaw(rows)

    (sentence,) = sentences(changed(streets, tmp_path, both))
    assert "turned by about -90 degrees, and length and width are swapped" in sentence


def test_boxes_in_the_lidars_frame_are_named_and_nothing_else_is_concluded(streets, tmp_path):
    (sentence,) = sentences(changed(streets, tmp_path, in_lidar_frame(streets / "driven", VERSION)))
    assert "28 of 28 boxes hold points if they are given in the LiDAR's frame (LIDAR_TOP), 0 as they" in sentence


def test_boxes_beside_their_points_are_named(streets, tmp_path):
    def shifted(rows):
        for row in rows:
            row["translation"][2] += 5.0

    (sentence,) = sentences(changed(streets, tmp_path, shifted))
    assert "boxes within 30 m hold fewer than 4 LiDAR points" in sentence


@pytest.mark.parametrize(("factor", "times"), [(2.0, "2"), (3.6, "3.6"), (0.5, "0.5")])
def test_stated_velocities_are_compared_with_displacement(streets, tmp_path, factor, times):
    change = stated_velocities(streets / "driven", VERSION, factor)
    (sentence,) = sentences(changed(streets, tmp_path, change))
    assert f"are {times} times what 28 boxes travel" in sentence
    right = planted(
        streets / "driven", VERSION, tmp_path / "right", stated_velocities(streets / "driven", VERSION, 1.0)
    )
    assert sentences(right) == []


def test_missing_files_gaps_and_strange_categories_are_named(tmp_path):
    root = write_street(tmp_path / "street", category="thing")
    missing, cut, *_ = sorted((root / "samples" / "LIDAR_TOP").iterdir())
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    path = root / VERSION / "sample.json"
    rows = json.loads(path.read_text())
    rows[-1]["timestamp"] += 5_000_000
    path.write_text(json.dumps(rows))
    missing, unread, categories, gap = sentences(root)
    assert "1 clouds cannot be read: " in unread and cut.name in unread
    assert "1 of 8 files are missing, 1 of keyframes (1 of LIDAR_TOP), the first is samples/LIDAR_TOP" in missing
    assert "no category belongs to a class (thing): give the list that names them with --classes" in categories
    assert "5.5 s without a keyframe after sample" in gap


def test_the_same_pictures_in_two_sets_are_counted(streets, tmp_path):
    nusc = open_nuscenes(streets / "driven", VERSION)
    (sentence,) = sentences(streets / "driven", other=open_nuscenes(streets / "parked", VERSION))
    assert "4 of 4 keyframes look like keyframes of" in sentence
    other = write_street(tmp_path / "other", keyframes=2)
    for number, path in enumerate(sorted(other.glob("samples/camera0/*.png"))):
        picture = np.random.default_rng(90 + number).integers(0, 255, (64, 176, 3), np.uint8)
        cv2.imwrite(str(path), cv2.GaussianBlur(picture, (0, 0), 8))
    assert [f for f in examine(nusc, other=open_nuscenes(other, VERSION)).findings if "look like" in f.sentence] == []


def test_the_command_prints_80_columns_writes_a_page_and_fails_on_errors(streets, tmp_path):
    runner = CliRunner()
    done = runner.invoke(
        app, ["check", str(streets / "driven"), "--out", str(tmp_path / "page")], env={"COLUMNS": "80"}
    )
    assert done.exit_code == 0 and "no mistake was found" in done.output
    lines = [line for line in done.output.splitlines() if not line.startswith("wrote")]
    assert "vehicle.car" in done.output and max(map(len, lines)) <= 80
    page = (tmp_path / "page" / PAGE).read_text()
    assert "street, camera0" in page and LABEL_COLUMNS[2] in page
    broken = changed(streets, tmp_path, swap_width_and_length)
    done = runner.invoke(app, ["check", str(broken), "--out", str(tmp_path / "broken")])
    assert done.exit_code == 1 and "length and width are swapped" in done.output


def test_rendered_data_is_healthy_and_its_planted_mistakes_are_named(request, tmp_path):
    root = small_set(request).out
    assert sentences(root, SYNTHETIC_VERSION) == []
    broken = planted(root, SYNTHETIC_VERSION, tmp_path / "frame", in_lidar_frame(root, SYNTHETIC_VERSION))
    (sentence,) = sentences(broken, SYNTHETIC_VERSION)
    assert "in the LiDAR's frame" in sentence
    broken = planted(root, SYNTHETIC_VERSION, tmp_path / "turned", turn_yaw)
    assert any("'vehicle.car'" in text and "turned by" in text for text in sentences(broken, SYNTHETIC_VERSION))


@pytest.mark.parametrize(("folder", "version"), [("nuscenes-real", "v1.0-mini"), ("ddad-real", "v1.0-ddad")])
def test_real_data_is_healthy(folder, version):
    assert sentences(real_data(folder), version) == []


def test_real_kitti_frames_are_healthy_and_too_few_to_judge(tmp_path):
    import_kitti(real_data("kitti-real"), tmp_path)
    report = examine(open_nuscenes(tmp_path, KITTI_VERSION))
    assert not report.bad and any("cannot be told" in finding.sentence for finding in report.findings)
    assert [row[1] for row in report.label_rows()] == ["1"] * 4


def test_classes_of_ones_own_are_known(streets, tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(
        "groups: [{nms_radius: 1.0, classes: [{name: t, color: [1, 2, 3], range: 9, categories: [thing]}]}]"
    )
    assert sentences(streets / "foreign", classes=read_classes(path)) == []


def test_a_cameras_calibration_of_another_scene_is_named(request, tmp_path):
    source = rendered_bag(request).parent / "data"
    sensors = json.loads((source / SYNTHETIC_VERSION / "sensor.json").read_text())
    front = next(row["token"] for row in sensors if row["channel"] == "CAM_FRONT")

    def other_rig(row):
        """Another vehicle's: every camera turned by three degrees, and of another focal length."""
        if row["camera_intrinsic"]:
            turn = make_transform(quaternion_from_yaw(np.radians(3.0)), np.zeros(3))
            row["rotation"] = quaternion_of(turn @ make_transform(np.array(row["rotation"]), np.zeros(3))).tolist()
            row["camera_intrinsic"][0][0] *= 1.08

    def one_camera(row):
        if row["sensor_token"] == front:
            other_rig(row)

    def findings(**scenes):
        root = twice(source, tmp_path / "-".join(scenes), scenes)
        return [finding.sentence for finding in check_calibrations(open_nuscenes(root, SYNTHETIC_VERSION))]

    assert findings(a=lambda row: None, b=lambda row: None) == []
    (named,) = findings(right=lambda row: None, wrong=one_camera)
    assert "camera 'CAM_FRONT' in scene 'wrong' has the calibration of another scene" in named
    assert "that of 'right' fits by" in named
    lent = findings(lender=other_rig, borrower=one_camera)
    assert any("'CAM_FRONT' in scene 'borrower'" in text and "it is that of 'lender'" in text for text in lent)
