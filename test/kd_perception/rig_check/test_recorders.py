"""Recordings as robots and recorders make them: each comes out right, or ends with its own sentence."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.edit_bag import edit_bag, move_mountings, shift_stamps
from support.foreign_bags import McapStyle, image_cdr, pack, write_mcap, write_ros1
from typer.testing import CliRunner

from kd_perception.bags.messages import BAG, make, typestore
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.errors import ConfigError, DataError
from kd_perception.rig_check.command import app, examine
from kd_perception.rig_check.finding import Finding, Severity, merged
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.recording import read_recording

IMAGE = "sensor_msgs/msg/CompressedImage"


def of_topic(ending, change):
    """Apply `change` to the messages of topics with this ending; it may also return another topic and message."""

    def changed(topic, message):
        if topic.endswith(ending):
            other = change(message)
            return (topic, message) if other is None else other
        return topic, message

    return changed


def set_fields(**values):
    """A change that sets fields."""

    def change(message):
        for name, value in values.items():
            setattr(message, name, value)

    return change


def report_on(bag, moments=2):
    recording = read_recording(bag)
    return examine(recording, read_moments(recording, "base_link", moments))


def sentences(report, *severities):
    return [finding.sentence for finding in report.findings if not severities or finding.severity in severities]


def test_stamps_of_a_cloud_by_another_clock_and_stamps_that_repeat(good_bag, tmp_path):
    late = report_on(edit_bag(good_bag, tmp_path / "late", shift_stamps("/LIDAR_TOP", 3.0)))
    assert late.bad and any("/LIDAR_TOP/points: its stamps are +3.00 s from the cameras'" in s for s in sentences(late))

    first = {}

    def repeat(topic, message):
        if topic in ("/CAM_BACK/image/compressed", "/LIDAR_TOP/points"):
            message.header = first.setdefault(topic, message.header)
        return topic, message

    twice = sentences(report_on(edit_bag(good_bag, tmp_path / "twice", repeat)), Severity.warning)
    assert any("'CAM_BACK': 3 of 4 images have the stamp of another" in sentence for sentence in twice)
    assert any("/LIDAR_TOP/points: 3 of 4 clouds have the stamp of another" in sentence for sentence in twice)


def test_a_cloud_clock_is_found_by_pictures_where_recording_times_tell_nothing(good_bag, tmp_path):
    """Recorded when they were stamped, a second too early: only the pictures of a second later fit."""
    reader, shift = BagReader(good_bag), shift_stamps("/LIDAR_TOP", -1.0)
    types = {topic.name: topic.type_name for topic in reader.topics}
    content = []
    for topic, stamp_ns, cdr in reader.messages():
        if topic == "/LIDAR_TOP/points":
            message = shift(topic, typestore().deserialize_cdr(cdr, types[topic]))[1]
            cdr, stamp_ns = bytes(typestore().serialize_cdr(message, types[topic])), stamp_ns - 10**9
        content.append((stamp_ns, topic, cdr))
    with BagWriter(tmp_path / "bag") as bag:
        for stamp_ns, topic, cdr in sorted(content, key=lambda entry: entry[0]):
            bag.write_cdr(topic, types[topic], cdr, stamp_ns)
    (error,) = sentences(report_on(tmp_path / "bag", 4), Severity.error)
    assert "the cloud's stamps are about -1.0 s from the pictures'" in error


def test_a_focal_length_that_is_too_short_is_measured(good_bag, tmp_path):
    def shorten(message):
        message.k = message.k * np.array([0.9, 1, 1, 1, 0.9, 1, 1, 1, 1])

    changed = of_topic("/camera_info", shorten)
    report = report_on(edit_bag(good_bag, tmp_path / "short", changed), 4)
    (warning,) = sentences(report, Severity.warning, Severity.error)
    assert "all cameras: the focal lengths in CameraInfo (k) should be about 1.11 times theirs" in warning


def test_a_cloud_turned_about_its_own_axis_is_named(report_of):
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    report = report_of(move_mountings(lambda child, m: m @ turn if child == "LIDAR_TOP" else m))
    (error,) = sentences(report, Severity.error, Severity.warning)
    assert "the cloud is turned by 180 degrees" in error


def test_nothing_to_see_accuses_nobody(good_bag, tmp_path):
    """Black pictures, and a cloud of which a sixth is left: nothing can be said, and the table says so."""
    black = np.zeros((128, 352, 3), np.uint8)
    ok, jpeg = cv2.imencode(".jpg", black)
    dark = report_on(
        edit_bag(good_bag, tmp_path / "dark", of_topic("CAM_BACK/image/compressed", set_fields(data=jpeg.ravel()))), 4
    )
    assert ok and not sentences(dark, Severity.error, Severity.warning)
    (note,) = sentences(dark)
    assert (
        "camera 'CAM_BACK': cannot tell whether its pictures fit the cloud: its pictures show hardly any edge" in note
    )

    recording = read_recording(good_bag)
    rng = np.random.default_rng(0)
    moments = [
        replace(moment, points=moment.points[rng.random(len(moment.points)) < 1 / 6])
        for moment in read_moments(recording, "base_link", 4)
    ]
    thin = examine(recording, moments)
    assert not sentences(thin, Severity.error, Severity.warning)
    assert any("cannot tell whether" in sentence for sentence in sentences(thin))


def test_pictures_that_cannot_be_read_are_an_error_in_one_sentence(good_bag, tmp_path):
    changed = of_topic("/image/compressed", set_fields(data=np.frombuffer(b"no picture", np.uint8)))
    bag = edit_bag(good_bag, tmp_path / "unreadable", changed)
    done = CliRunner().invoke(app, ["check", "--bag", str(bag), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    errors = [line for line in done.output.splitlines() if line.startswith("error")]
    assert len(errors) == 1 and errors[0].count("CAM_") == 6  # one sentence, not six
    assert "none of 4 images that were looked at can" in errors[0] and "no readable JPEG or PNG" in errors[0]


def test_images_whose_size_changes_and_regions_of_interest(good_bag, tmp_path):
    info = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, width=352, height=128)
    whole = of_topic("CAM_BACK/camera_info", set_fields(width=400, height=140, roi=info))
    assert not sentences(report_on(edit_bag(good_bag, tmp_path / "roi", whole)), Severity.error)

    count = iter(range(100))

    def shrink(message):

        if next(count) >= 2:
            image = cv2.resize(cv2.imdecode(message.data, cv2.IMREAD_COLOR), (176, 64))
            message.data = cv2.imencode(".jpg", image)[1].ravel()

    changed = report_on(edit_bag(good_bag, tmp_path / "size", of_topic("CAM_BACK/image/compressed", shrink)))
    (error,) = sentences(changed, Severity.error)
    assert "'CAM_BACK': its images change their size within the bag (352x128, 176x64)" in error


def test_rectified_images_are_taken_by_p_without_d(good_bag, tmp_path):
    """K and D are of another lens: they must not matter."""

    def rectify(topic, message):
        if topic.endswith("/camera_info"):
            message.p = np.column_stack([message.k.reshape(3, 3), np.zeros(3)]).ravel()
            message.k, message.d, message.distortion_model = (
                message.k * 0.5,
                np.array([-0.3, 0.1, 0, 0, 0]),
                "plumb_bob",
            )
        return topic.replace("/image/", "/image_rect/"), message

    report = report_on(edit_bag(good_bag, tmp_path / "rect", rectify), 4)
    assert not report.bad and min(report.agreements.values()) > 5.0
    (note,) = sentences(report)
    assert "each: /*/image_rect" in note and "is rectified by its name" in note
    raw = read_recording(tmp_path / "rect", rectified=("false",))
    assert raw.camera(raw.cameras[0], "base_link", raw.cameras[0].stamps_ns[0]).distortion_model == "plumb_bob"


def test_topics_below_a_robot_and_a_camera_without_a_namespace(good_bag, tmp_path):
    reader = BagReader(good_bag)
    types = {topic.name: topic.type_name for topic in reader.topics}
    with BagWriter(tmp_path / "robot") as robot, BagWriter(tmp_path / "root") as root:
        for topic, stamp_ns, cdr in reader.messages():
            robot.write_cdr(f"/robot1{topic}", types[topic], cdr, stamp_ns)
            renamed = topic.replace("/CAM_FRONT/image", "/image_raw").replace("/CAM_FRONT/", "/")
            if "CAM_" not in renamed:
                root.write_cdr(renamed, types[topic], cdr, stamp_ns)
    below = report_on(tmp_path / "robot")
    assert len(below.cameras) == 6 and not sentences(below, Severity.error, Severity.warning)
    alone = report_on(tmp_path / "root")
    (camera,) = alone.recording.cameras
    assert (camera.topics.image, camera.topics.info) == ("/image_raw/compressed", "/camera_info") and alone.cameras


def test_bags_without_pictures_say_which_images_they_have(tmp_path):
    with BagWriter(tmp_path / "depth") as bag:
        depth = make("sensor_msgs/msg/Image", header=BAG.header(1, "d"), height=1, width=1, encoding="16UC1", step=2)
        bag.write("/camera/depth/image_rect_raw", depth, 1)
    with pytest.raises(DataError, match="no pictures of cameras, only /camera/depth/image_rect_raw .*record the"):
        read_recording(tmp_path / "depth")


def test_every_recorder_has_its_sentence(tmp_path):
    content = [("/front/image/compressed", 1, image_cdr(1))]
    protobuf = McapStyle(encoding="protobuf", schema="protobuf", type_name="foxglove.CompressedImage")
    refused = {
        write_ros1(tmp_path / "old.bag"): "is a ROS 1 bag; convert it first",
        write_mcap(tmp_path / "p.mcap", [("/front", 1, b"\x0a\x00")], protobuf): "encoded as 'protobuf', not as CDR",
        write_mcap(tmp_path / "f.mcap", [("/front/image", 1, b"\x07\x07\x07\x07")]): "not CDR and were left out",
    }
    for file, sentence in refused.items():
        done = CliRunner().invoke(app, ["check", "--bag", str(file), "--out", str(tmp_path / "out")])
        assert done.exit_code == 1
        assert sentence in " ".join(f"{done.output} {done.exception}".split())
    short = write_mcap(tmp_path / "s.mcap", content, McapStyle(type_name="sensor_msgs/CompressedImage"))
    assert read_recording(pack(short)).cameras[0].stamps_ns == [1]


def test_an_unchunked_file_out_of_order_is_read_to_its_end(tmp_path):
    stamps = [9, 3, 7, 1, 5]
    content = [("/front/image/compressed", stamp, image_cdr(stamp)) for stamp in stamps]
    file = write_mcap(tmp_path / "x.mcap", content, McapStyle(chunked=False, index=False))
    assert read_recording(file).cameras[0].stamps_ns == sorted(stamps)


def test_names_from_a_bag_do_not_reach_the_terminal_as_they_are(tmp_path):
    cdr = typestore().serialize_cdr(BAG.compressed_image(1, "front\x1b[2J", b"x", "jpeg"), IMAGE)
    file = write_mcap(tmp_path / "x.mcap", [("/front\x1b[31m/image", 1, bytes(cdr))])
    done = CliRunner().invoke(app, ["check", "--bag", str(file), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and "\x1b" not in done.output and r"\x1b[31m" in done.output


def test_a_file_in_the_place_of_the_report_is_one_sentence(good_bag, tmp_path):
    (tmp_path / "taken").write_text("")
    done = CliRunner().invoke(app, ["check", "--bag", str(good_bag), "--out", str(tmp_path / "taken" / "here")])
    assert isinstance(done.exception, ConfigError) and "taken is a file" in str(done.exception)


def test_the_same_of_several_cameras_is_one_sentence():
    same = [Finding(Severity.warning, f"camera '{n}': its topic /{n}/image is late", (n,)) for n in ("a1", "b2", "c3")]
    other = Finding(Severity.error, "camera 'a1': 3 images", ("a1",))
    first, second = merged([*same, other])
    assert first == other
    assert second.sentence == "cameras 'a1', 'b2' and 'c3', each: its topic /*/image is late"
    assert second.cameras == ("a1", "b2", "c3")
