"""A nuScenes-format scene as a rosbag2, read back with rosbags from both storages."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from support.nuscenes_tables import (
    SCENES,
    VERSION,
    PaintedRig,
    clockwise_rig,
    four_and_seven,
    without_rows,
    write_dataset,
)
from support.real_data import REAL_DATA

from kd_perception.bags.cameras import bag_cameras
from kd_perception.bags.messages import POINT_DTYPE, typestore
from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.datasets.nuscenes import (
    CAMERA_CHANNELS,
    ego_pose,
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    read_lidar,
    scene_samples,
)
from kd_perception.datasets.rigs import ANCHOR
from kd_perception.errors import DataError
from kd_perception.evaluation.replayed import cameras_of_bag
from kd_perception.geometry.classes import ClassList, HeadGroup, ObjectClass
from kd_perception.geometry.transforms import apply, invert, make_transform


@pytest.fixture(scope="module")
def nusc(tmp_path_factory):  # noqa: ANN201
    return open_nuscenes(write_dataset(tmp_path_factory.mktemp("painted")), VERSION)


@pytest.fixture(scope="module", params=["mcap", "sqlite3"])
def messages(request, nusc, tmp_path_factory):  # noqa: ANN001, ANN201
    """All messages of the first scene's bag as (topic, recording time, message), in playing order."""
    bag = tmp_path_factory.mktemp("bags") / f"scene_{request.param}"
    write_scene(nusc, SCENES[0], bag, BagOptions(request.param))
    return read_bag(bag)


def read_bag(bag: Path) -> list[tuple[str, int, object]]:
    with Reader(bag) as reader:
        return [
            (connection.topic, stamp, typestore().deserialize_cdr(data, connection.msgtype))
            for connection, stamp, data in reader.messages()
        ]


def stamp_ns(message) -> int:  # noqa: ANN001
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def matrix(transform) -> np.ndarray:  # noqa: ANN001
    q, t = transform.rotation, transform.translation
    return make_transform(np.array([q.w, q.x, q.y, q.z]), np.array([t.x, t.y, t.z]))


def test_every_row_of_the_tables_is_there(messages) -> None:
    counts = Counter(topic for topic, _, _ in messages)
    for channel in CAMERA_CHANNELS:
        assert (
            counts[f"/{channel}/image/compressed"] == counts[f"/{channel}/camera_info"] == 5
        )  # three keyframes and two between
    assert counts["/LIDAR_TOP/points"] == 5
    assert counts["/sample"] == counts["/truth/markers"] == 3
    assert counts["/tf"] == counts["/odom"] == 35  # a pose for every sensor's time
    assert counts["/tf_static"] == 1


def test_the_cameras_and_lidars_of_any_rig_are_in_its_bag(tmp_path) -> None:
    data = write_dataset(tmp_path / "data", rigs=four_and_seven())
    gone = sorted((data / "samples" / "left").glob(f"{SCENES[0]}*"))[0]
    nusc = open_nuscenes(without_rows(data, gone.name), VERSION, "rear")
    write_scene(nusc, SCENES[0], tmp_path / "four")
    counts = Counter(topic for topic, _, _ in read_bag(tmp_path / "four"))
    images = {name: counts[f"/{name}/image/compressed"] for name in ("front", "right", "rear", "left")}
    assert images == {"front": 5, "right": 5, "rear": 5, "left": 4}
    assert counts["/lidar_left/points"] == counts["/lidar_right/points"] == 5 and counts["/sample"] == 3
    assert bag_cameras(tmp_path / "four")[0] == "rear" and set(bag_cameras(tmp_path / "four")) == set(images)
    (static,) = (message for topic, _, message in read_bag(tmp_path / "four") if topic == "/tf_static")
    assert {entry.child_frame_id for entry in static.transforms} == {"odom", *images, "lidar_left", "lidar_right"}
    write_scene(nusc, SCENES[1], tmp_path / "seven")
    assert cameras_of_bag(tmp_path / "seven", CAMERA_CHANNELS)[0] == "cam0"
    assert cameras_of_bag(tmp_path / "seven", ("cam3", "cam1")) == ("cam3", "cam1")  # what the user names
    assert cameras_of_bag(tmp_path / "none", CAMERA_CHANNELS) == CAMERA_CHANNELS


@pytest.mark.parametrize("name", ["front-left", "2nd", "hinten/links"])
def test_a_channel_that_is_no_topic_name_is_refused_before_anything_is_written(tmp_path, name) -> None:
    rigs = dict.fromkeys(SCENES, PaintedRig(clockwise_rig(["front"]), {}))
    data = write_dataset(tmp_path / "data", samples=1, sweeps=False, rigs=rigs)
    path = data / VERSION / "sensor.json"
    path.write_text(path.read_text().replace('"front"', f'"{name}"'))
    with pytest.raises(DataError, match=f"the channel '{name}' of scene '{SCENES[0]}' cannot be part of a topic name"):
        write_scene(open_nuscenes(data, VERSION), SCENES[0], tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_image_bytes_are_the_files(nusc, messages) -> None:
    files = {
        row["timestamp"] * 1000: Path(nusc.dataroot) / row["filename"]
        for row in nusc.sample_data
        if row["channel"] == ANCHOR
    }
    for topic, _, message in messages:
        if topic == f"/{ANCHOR}/image/compressed":
            assert message.data.tobytes() == files[stamp_ns(message)].read_bytes()
            assert message.format == "jpeg" and message.header.frame_id == ANCHOR


def test_calibration_is_the_tables(nusc, messages) -> None:
    frame = load_frame(nusc, scene_samples(nusc, SCENES[0])[0])
    (statics,) = [message for topic, _, message in messages if topic == "/tf_static"]
    tree = {transform.child_frame_id: transform for transform in statics.transforms}
    for image in frame.images:
        info = next(message for topic, _, message in messages if topic == f"/{image.camera.name}/camera_info")
        np.testing.assert_allclose(info.k.reshape(3, 3), image.camera.integer_centred_intrinsics())
        assert (info.width, info.height, info.distortion_model, info.d.tolist()) == (352, 128, "plumb_bob", [0.0] * 5)
        assert tree[image.camera.name].header.frame_id == "base_link"
        np.testing.assert_allclose(matrix(tree[image.camera.name].transform), image.camera.ego_from_camera, atol=1e-12)


def test_poses_compose_to_the_tables_and_precede_their_sensors(nusc, messages) -> None:
    map_from_odom, poses, anchors = None, {}, 0
    by_stamp = {row["timestamp"] * 1000: row for row in nusc.sample_data if row["channel"] == ANCHOR}
    for topic, _, message in messages:
        if topic == "/tf_static":
            (map_from_odom,) = [
                matrix(entry.transform) for entry in message.transforms if entry.header.frame_id == "map"
            ]
        elif topic == "/tf":
            (entry,) = message.transforms
            assert (entry.header.frame_id, entry.child_frame_id) == ("odom", "base_link")
            poses[stamp_ns(entry)] = matrix(entry.transform)
        elif topic == f"/{ANCHOR}/image/compressed":
            anchors += 1
            expected = ego_pose(nusc, by_stamp[stamp_ns(message)])
            np.testing.assert_allclose(map_from_odom @ poses[stamp_ns(message)], expected, atol=1e-9)
    assert anchors == 5


def test_a_sample_follows_its_keyframe_and_names_the_anchor_exposure(nusc, messages) -> None:
    tokens, seen = [], Counter()
    for topic, _, message in messages:
        seen[topic] += 1
        if topic == "/sample":
            frame = load_frame(nusc, message.sample_token)
            assert stamp_ns(message) == frame.timestamp_us * 1000 and message.scene == SCENES[0]
            for image in frame.images:  # keyframes alternate with one frame between
                assert seen[f"/{image.camera.name}/image/compressed"] == 2 * len(tokens) + 1
            tokens.append(message.sample_token)
    assert tokens == scene_samples(nusc, SCENES[0])


def test_points_survive_as_structured_fields(nusc, messages) -> None:
    cloud = next(message for topic, _, message in messages if topic == "/LIDAR_TOP/points")
    row = next(
        row for row in nusc.sample_data if row["channel"] == "LIDAR_TOP" and row["timestamp"] * 1000 == stamp_ns(cloud)
    )
    expected, rows = read_lidar(nusc, row), cloud.data.view(POINT_DTYPE)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity", "ring"]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, len(expected), 18, 18 * len(expected))
    for column, name in enumerate(POINT_DTYPE.names):
        np.testing.assert_array_equal(rows[name], expected[:, column])


def test_twist_is_the_motion_of_the_poses(messages) -> None:
    odometry = [message for topic, _, message in messages if topic == "/odom"]
    middle = odometry[len(odometry) // 2].twist.twist  # 2 m/s ahead, turning left at 0.05 rad/s
    assert middle.linear.x == pytest.approx(2.0, abs=0.05) and abs(middle.linear.y) < 0.1
    assert middle.angular.z == pytest.approx(0.05, abs=0.005)


def test_a_bag_has_the_ground_truth_of_the_classes_that_are_asked_for(nusc, tmp_path) -> None:
    fence = ClassList((HeadGroup(1.0, (ObjectClass("fence", (0, 0, 255), 30.0, ("movable_object.barrier",)),)),))
    write_scene(nusc, SCENES[0], tmp_path / "bag", BagOptions(keyframes_only=True, classes=fence))
    truth = [message.markers for topic, _, message in read_bag(tmp_path / "bag") if topic == "/truth/markers"]
    assert [len(markers) for markers in truth] == [2, 2, 2]  # one that clears, and the barrier


def test_truth_markers_lie_on_the_truth(nusc, messages) -> None:
    token = scene_samples(nusc, SCENES[0])[0]
    truth, _ = ground_truth_boxes(nusc, token, load_frame(nusc, token).global_from_ego)
    clear, *outlines = next(message for topic, _, message in messages if topic == "/truth/markers").markers
    assert clear.action == 3 and len(outlines) == len(truth)
    ends = np.array([[[point.x, point.y, point.z] for point in outline.points] for outline in outlines])
    np.testing.assert_allclose(ends.mean(axis=1), truth.center)
    for points, corners in zip(ends, truth.corners(), strict=True):
        np.testing.assert_allclose(np.unique(points.round(6), axis=0), np.unique(corners.round(6), axis=0))


def test_recording_times_rise_and_static_transforms_are_latched(nusc, tmp_path) -> None:
    write_scene(nusc, SCENES[1], tmp_path / "bag")
    times = [stamp for _, stamp, _ in read_bag(tmp_path / "bag")]
    assert all(earlier < later for earlier, later in zip(times, times[1:], strict=False))
    with Reader(tmp_path / "bag") as reader:
        durability = {
            connection.topic: connection.ext.offered_qos_profiles[0].durability for connection in reader.connections
        }
        assert (tmp_path / "bag" / "bag.mcap").is_file()
        assert any(
            "sample_token" in connection.msgdef.data
            for connection in reader.connections
            if connection.topic == "/sample"
        )
    assert durability["/tf_static"] == QosDurability.TRANSIENT_LOCAL and durability["/tf"] == QosDurability.VOLATILE


def test_keyframes_only(nusc, tmp_path) -> None:
    write_scene(nusc, SCENES[0], tmp_path / "bag", BagOptions(keyframes_only=True))
    counts = Counter(topic for topic, _, _ in read_bag(tmp_path / "bag"))
    assert counts[f"/{ANCHOR}/image/compressed"] == counts["/LIDAR_TOP/points"] == 3


def test_a_missing_image_is_named_and_nothing_is_written(tmp_path) -> None:
    nusc = open_nuscenes(write_dataset(tmp_path / "data"), VERSION)
    gone = next((tmp_path / "data" / "samples" / "CAM_BACK").iterdir())
    gone.unlink()
    scene = gone.name.split("__")[0]
    with pytest.raises(
        DataError, match=f"1 of 35 sensor files of scene '{scene}' are missing, the first is .*{gone.name}"
    ):
        write_scene(nusc, scene, tmp_path / "out" / "bag")
    assert not (tmp_path / "out").exists()


def test_a_truncated_cloud_in_the_middle_leaves_no_half_bag(tmp_path) -> None:
    nusc = open_nuscenes(write_dataset(tmp_path / "data"), VERSION)
    clouds = sorted((tmp_path / "data" / "samples" / "LIDAR_TOP").glob(f"{SCENES[0]}*"))
    clouds[1].write_bytes(clouds[1].read_bytes()[:-3])
    with pytest.raises(DataError, match="truncated"):
        write_scene(nusc, SCENES[0], tmp_path / "out" / "bag")
    assert list((tmp_path / "out").iterdir()) == []


def test_interruption_leaves_no_half_bag_and_keeps_the_old_one(nusc, tmp_path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    write_scene(nusc, SCENES[1], tmp_path / "bag")
    before = (tmp_path / "bag" / "bag.mcap").read_bytes()
    with pytest.raises(DataError, match="exists already"):
        write_scene(nusc, SCENES[0], tmp_path / "bag")
    with pytest.raises(KeyboardInterrupt):
        write_scene(nusc, SCENES[0], tmp_path / "bag", BagOptions(overwrite=True), progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    assert (tmp_path / "bag" / "bag.mcap").read_bytes() == before
    write_scene(nusc, SCENES[0], tmp_path / "bag", BagOptions(overwrite=True))
    assert (tmp_path / "bag" / "bag.mcap").read_bytes() != before


def test_unknown_storage_and_scene_are_named(nusc, tmp_path) -> None:
    with pytest.raises(DataError, match="storage 'db4' is unknown; choose one of: mcap, sqlite3"):
        write_scene(nusc, SCENES[0], tmp_path / "bag", BagOptions(storage="db4"))
    with pytest.raises(DataError, match="scene 'scene-9' is not in"):
        write_scene(nusc, "scene-9", tmp_path / "bag")


@pytest.mark.real_data
def test_real_keyframe(tmp_path) -> None:
    if not (REAL_DATA / "nuscenes-real").is_dir():
        pytest.skip(f"the real nuScenes keyframe is not in {REAL_DATA}; set KD_REAL_DATA")
    nusc = open_nuscenes(REAL_DATA / "nuscenes-real", "v1.0-mini")
    write_scene(nusc, "scene-0061", tmp_path / "bag")
    counts = Counter(topic for topic, _, _ in read_bag(tmp_path / "bag"))
    assert counts["/sample"] == 1 and all(counts[f"/{channel}/image/compressed"] == 1 for channel in CAMERA_CHANNELS)
    frame = load_frame(nusc, scene_samples(nusc, "scene-0061")[0])
    transforms = [
        entry
        for topic, _, message in read_bag(tmp_path / "bag")
        if topic in ("/tf", "/tf_static")
        for entry in message.transforms
    ]
    map_from_odom = next(matrix(entry.transform) for entry in transforms if entry.child_frame_id == "odom")
    pose = next(
        matrix(e.transform)
        for e in transforms
        if e.child_frame_id == "base_link" and stamp_ns(e) == frame.timestamp_us * 1000
    )
    np.testing.assert_allclose(
        apply(invert(frame.global_from_ego) @ map_from_odom @ pose, np.eye(3)), np.eye(3), atol=1e-9
    )


def test_ctrl_c_stops_the_command_with_130_and_leaves_no_half_bag(tmp_path) -> None:
    write_dataset(tmp_path / "data", samples=25)
    out = tmp_path / "out"
    arguments = [
        "--dataroot",
        str(tmp_path / "data"),
        "--version",
        VERSION,
        "--scene",
        SCENES[0],
        "--out",
        str(out / "bag"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "kd_perception.cli", "bag", *arguments], stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not any(path.stat().st_size for path in out.glob(".bag.*/bag/*")):
        time.sleep(0.005)  # until the bag in the hidden scratch folder has bytes
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), errors  # both are 130 to a shell
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []


def test_command_names_what_is_wrong_in_one_sentence_and_fails(tmp_path) -> None:
    arguments = [
        "--dataroot",
        tmp_path / "nowhere",
        "--version",
        VERSION,
        "--scene",
        SCENES[0],
        "--out",
        tmp_path / "bag",
    ]
    command = [sys.executable, "-m", "kd_perception.cli", "bag", *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert outcome.returncode == 1
    assert "nowhere does not exist; give the folder that holds samples/" in outcome.stderr.replace("\n", " ")
    assert "Traceback" not in outcome.stderr and not (tmp_path / "bag").exists()
