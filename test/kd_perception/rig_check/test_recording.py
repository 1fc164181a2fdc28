"""What rig check reads of recordings with malformed messages, and of those that are no ROS 2 bags."""

import subprocess
import sys

import pytest
from support.foreign_bags import McapStyle, image_cdr, write_mcap, write_ros1

from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.recording import read_recording


@pytest.mark.parametrize(
    "topic", ["/CAM_BACK/camera_info", "/CAM_BACK/image/compressed", "/LIDAR_TOP/points", "/tf", "/tf_static"]
)
@pytest.mark.parametrize("size", [4, 60])
def test_a_malformed_message_is_left_out_and_named(good_bag, tmp_path, topic, size):
    reader = BagReader(good_bag)
    types = {each.name: each.type_name for each in reader.topics}
    cut = 0
    with BagWriter(tmp_path / "bag") as bag:
        for name, stamp_ns, cdr in reader.messages():
            bag.write_cdr(name, types[name], cdr, stamp_ns)
            if name == topic and not cut:
                bag.write_cdr(name, types[name], cdr[:size], stamp_ns)
                cut = 1
    recording = read_recording(tmp_path / "bag")
    assert all(moment.views for moment in read_moments(recording, "base_link", 4))
    whole_header = size == 60 and topic in ("/CAM_BACK/image/compressed", "/LIDAR_TOP/points")  # only that is read here
    assert len(recording.problems) == (0 if whole_header else 1)
    assert whole_header or f"topic {topic}: 1 messages left out: a message" in recording.problems[0]


def test_recordings_that_are_no_ros_2_bags_end_with_one_sentence(tmp_path):
    json = McapStyle(encoding="json", schema="jsonschema", type_name="foxglove.CompressedImage")
    files = {
        write_ros1(tmp_path / "old.bag"): "is a ROS 1 bag; convert it first",
        write_mcap(tmp_path / "x.mcap", [("/front", 1, b"{}")], json): "encoded as 'json', not as CDR",
    }
    for file, sentence in files.items():
        command = [sys.executable, "-m", "kd_perception.cli", "rig", "check", "--bag", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and sentence in " ".join(done.stderr.split()), done.stderr
        assert "Traceback" not in done.stderr


def test_short_type_names_are_found(tmp_path):
    style = McapStyle(type_name="sensor_msgs/CompressedImage")
    file = write_mcap(tmp_path / "x.mcap", [("/front/image/compressed", 1, image_cdr(1))], style)
    recording = read_recording(file)
    assert [record.name for record in recording.cameras] == ["front"] and recording.cameras[0].stamps_ns == [1]
