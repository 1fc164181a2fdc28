"""`kd rig check` on rendered scenes: silent on a good bag, and one right sentence for every mistake that is made."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from support.edit_bag import edit_bag, move_mountings, shift_stamps, swap_topics
from support.real_data import real_data

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.geometry.transforms import invert, make_transform, quaternion_from_yaw
from kd_perception.rig_check.command import examine
from kd_perception.rig_check.finding import Severity
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.recording import read_recording

MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
QUARTER = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def cameras(move):
    """Apply `move` to the mountings of all cameras."""
    return move_mountings(lambda child, mounting: move(mounting) if child.startswith("CAM") else mounting)


def only(name, move):
    """Apply `move` to one mounting."""
    return move_mountings(lambda child, mounting: move(mounting) if child == name else mounting)


def swap_pictures(first, second):
    """Exchange the image topics of two cameras, their CameraInfo left in place; frames say nothing of it."""

    def change(topic, message):
        if topic.endswith("/image/compressed"):
            names = {first: second, second: first}
            name = names.get(topic.split("/")[1], topic.split("/")[1])
            message.header.frame_id = name
            return f"/{name}/image/compressed", message
        return topic, message

    return change


def picture_of(name, turn):
    """Apply `turn` to the pictures of one camera."""

    def change(topic, message):
        if topic == f"/{name}/image/compressed":
            image = np.ascontiguousarray(turn(cv2.imdecode(message.data, cv2.IMREAD_COLOR)))
            message.data = cv2.imencode(".jpg", image)[1].ravel()
        return topic, message

    return change


def info_of(name, **values):
    """Set fields of one camera's CameraInfo."""

    def change(topic, message):
        if topic == f"/{name}/camera_info":
            for field, value in values.items():
                setattr(message, field, value)
        return topic, message

    return change


def without(*topics):
    """Leave topics out."""
    return lambda topic, message: None if topic in topics else (topic, message)


def test_a_good_bag_is_good(report_of):
    report = report_of(None)
    assert not report.findings and not report.bad
    assert set(report.cameras) == set(report.pictures) and len(report.cameras) == 6
    assert min(report.agreements.values()) > 5.0


MISTAKES = {
    "two cameras' pictures": (
        swap_pictures("CAM_BACK_LEFT", "CAM_BACK_RIGHT"), "'CAM_BACK_LEFT' and 'CAM_BACK_RIGHT' are swapped",
    ),
    "pictures of other lenses": (swap_pictures("CAM_FRONT", "CAM_BACK"), "'CAM_BACK' and 'CAM_FRONT' are swapped"),
    "whole topics": (swap_topics("/CAM_FRONT_LEFT", "/CAM_FRONT_RIGHT"), "names say .*'CAM_FRONT_LEFT' looks right"),
    "y to the right": (
        cameras(lambda m: MIRROR @ m @ np.diag([-1.0, 1.0, 1.0, 1.0])), "left and right are exchanged; base_link's y",
    ),
    "body frames": (cameras(lambda m: m @ invert(BODY_FROM_OPTICAL)), "all cameras: the frame is a body frame"),
    "one body frame": (
        only("CAM_FRONT", lambda m: m @ invert(BODY_FROM_OPTICAL)), "camera 'CAM_FRONT': the frame is a body frame",
    ),
    "inverted transforms": (cameras(invert), "all cameras: the transform is inverted"),
    "roll of 180 degrees": (
        only("CAM_BACK", lambda m: m @ np.diag([-1.0, -1.0, 1.0, 1.0])), "'CAM_BACK': the mounting in tf is rolled",
    ),
    "an upside-down picture": (
        picture_of("CAM_FRONT_LEFT", lambda image: image[::-1, ::-1]), "'CAM_FRONT_LEFT': the picture is upside down",
    ),
    "a mirrored picture": (
        picture_of("CAM_FRONT_LEFT", lambda image: image[:, ::-1]), "'CAM_FRONT_LEFT': the picture is mirrored, left",
    ),
    "a turned cloud": (only("LIDAR_TOP", lambda m: QUARTER @ m), "the cloud is turned by 90 degrees"),
    "no transforms": (without("/tf", "/tf_static"), "the bag has no transforms"),
    "no CameraInfo": (without("/CAM_BACK/camera_info"), "camera 'CAM_BACK': no CameraInfo next to /CAM_BACK/image"),
    "zero intrinsics": (info_of("CAM_BACK", k=np.zeros(9)), "camera 'CAM_BACK': focal lengths must be positive"),
    "another size": (
        info_of("CAM_BACK", width=704, height=256), "its images are 352x128 but .* 704x256; resize k .* 0.5",
    ),
    "an unknown lens": (info_of("CAM_BACK", distortion_model="omni"), "distortion model 'omni' is not supported"),
    "another clock": (shift_stamps("/CAM_BACK", 3.0), r"camera 'CAM_BACK': its stamps are \+3.00 s from the other"),
    "one place for two": (
        only("CAM_BACK_LEFT", lambda m: np.eye(4)), "camera 'CAM_BACK_LEFT' looks steeply up",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_one_error(report_of, name):
    change, sentence = MISTAKES[name]
    report = report_of(change)
    errors = [finding.sentence for finding in report.findings if finding.severity is Severity.error]
    assert report.bad
    assert any(re.search(sentence, error) for error in errors), errors


def turned_about_z(degrees):
    """Rotation (4, 4) about the vertical."""
    return make_transform(quaternion_from_yaw(np.radians(degrees)), np.zeros(3))


def test_a_turned_camera_is_doubted(report_of):
    """Ten degrees of yaw, which nothing simple explains: the pictures do not fit, and the others still do."""

    def turn(mounting):
        return make_transform((turned_about_z(10.0) @ mounting)[:3, :3], mounting[:3, 3])

    report = report_of(only("CAM_FRONT_LEFT", turn))
    assert any("'CAM_FRONT_LEFT': its pictures do not fit the cloud" in finding.sentence for finding in report.findings)
    assert all(finding.cameras in ((), ("CAM_FRONT_LEFT",)) for finding in report.findings)


def test_a_mounting_that_is_two_degrees_off_is_measured(report_of):
    """Two degrees to the left in tf: the sentence says to turn it about two degrees back."""

    def turn(mounting):
        return make_transform((turned_about_z(2.0) @ mounting)[:3, :3], mounting[:3, 3])

    (finding,) = report_of(only("CAM_BACK_LEFT", turn)).findings
    assert finding.severity is Severity.warning and finding.cameras == ("CAM_BACK_LEFT",)
    degrees, side = re.search(r"turned by ([\d.]+) degrees to the (\w+)", finding.sentence).groups()
    assert side == "right" and abs(float(degrees) - 2.0) <= 0.5


def test_same_mounting_no_view_ahead_and_no_cloud(report_of):
    backward = np.diag([-1.0, -1.0, 1.0, 1.0]) @ BODY_FROM_OPTICAL
    move = move_mountings(lambda child, mounting: backward if child in ("CAM_BACK", "CAM_FRONT") else mounting)
    drop = without("/LIDAR_TOP/points")
    kept = report_of(lambda topic, message: move(topic, message) if drop(topic, message) else None)
    sentences = " ".join(finding.sentence for finding in kept.findings)
    assert "cameras 'CAM_FRONT' and 'CAM_BACK' have the same mounting" in sentences
    assert "no camera sees what is ahead" in sentences and "'CAM_FRONT' looks back" in sentences
    assert "no cloud to compare pictures with" in sentences


def test_one_keyframe_of_the_real_world_is_good_and_a_swap_in_it_is_noticed(tmp_path):
    nusc = open_nuscenes(real_data("nuscenes-real"), "v1.0-mini")
    write_scene(nusc, "scene-0061", tmp_path / "real")
    recording = read_recording(tmp_path / "real")
    report = examine(recording, read_moments(recording, "base_link", 8))
    assert not report.findings
    bag = edit_bag(tmp_path / "real", tmp_path / "swapped", swap_pictures("CAM_FRONT_LEFT", "CAM_BACK_RIGHT"))
    recording = read_recording(bag)
    errors = [finding.sentence for finding in examine(recording, read_moments(recording, "base_link", 8)).findings]
    assert any("'CAM_BACK_RIGHT' and 'CAM_FRONT_LEFT' are swapped" in error for error in errors), errors


def run_check(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "kd_perception.cli", "rig", "check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_writes_a_page_and_its_status_tells(good_bag, tmp_path):
    good = run_check("--bag", str(good_bag), "--out", str(tmp_path / "good"))
    assert good.returncode == 0, good.stderr
    assert "no mistake was found" in good.stdout
    page = (tmp_path / "good" / "rig_check.html").read_text()
    assert page.count("data:image/jpeg") == 6 and page.count("data:image/png") == 1 and "CAM_BACK_LEFT" in page
    picture = cv2.imread(str(tmp_path / "good" / "CAM_FRONT.jpg"))
    assert picture.shape == (128, 352, 3)

    changed = edit_bag(good_bag, tmp_path / "changed", without("/tf_static"))
    bad = run_check("--bag", str(changed), "--out", str(tmp_path / "bad"))
    assert bad.returncode == 1 and "error: " in bad.stdout and (tmp_path / "bad" / "rig_check.html").is_file()

    absent = run_check("--bag", str(tmp_path / "nothing"))
    assert absent.returncode == 1 and "does not exist" in absent.stderr and "Traceback" not in absent.stderr


def test_topics_and_frames_can_be_named(good_bag, tmp_path):
    arguments = ["--camera", "ahead=/CAM_FRONT/image/compressed,/CAM_FRONT/camera_info", "--cloud", "/LIDAR_TOP/points"]
    named = run_check("--bag", str(good_bag), "--out", str(tmp_path / "named"), *arguments)
    assert named.returncode == 0 and (tmp_path / "named" / "ahead.jpg").is_file()
    frame = run_check("--bag", str(good_bag), "--out", str(tmp_path / "frame"), "--base-frame", "base_footprint")
    assert frame.returncode == 1 and "tf has no frame 'base_footprint'" in frame.stdout
    assert json.dumps("CAM_BACK")[1:-1] in frame.stdout
