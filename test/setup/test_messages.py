"""kd_msgs and tf2_msgs as generated: every field survives serialisation, and every field is explained."""

import math
import re

import pytest
from support.checkout import ROOT

pytest.importorskip("rclpy")
from geometry_msgs.msg import Point, Pose, Quaternion, TransformStamped, Vector3
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import Detection3D, Detection3DArray, FrameStatus, Sample


def header():
    message = Header(frame_id="base_link")
    message.stamp.sec, message.stamp.nanosec = 1_700_000_000, 123_456_789
    return message


def round_trip(message):
    return deserialize_message(serialize_message(message), type(message))


def test_detections_round_trip():
    detection = Detection3D(
        class_name="car",
        class_id=0,
        score=0.1234567890123,
        pose=Pose(position=Point(x=1.0, y=2.0, z=0.5), orientation=Quaternion(w=0.6, z=0.8)),
        size=Vector3(x=4.5, y=1.9, z=1.6),
        velocity=Vector3(x=-3.0, y=0.5),
        attribute="vehicle.moving",
    )
    message = Detection3DArray(header=header(), detections=[detection, Detection3D()], model="student")
    assert round_trip(message) == message
    assert round_trip(message).detections[0].score == 0.1234567890123  # not rounded to 32 bits


def test_frame_status_round_trip():
    message = FrameStatus(
        header=header(),
        outcome=FrameStatus.REJECTED,
        reason="CAM_FRONT is truncated",
        stage_names=["preprocess", "total"],
        stage_ms=[1.5, 20.25],
        camera_names=["CAM_FRONT", "CAM_BACK"],
        camera_age_ms=[0.0, -12.5],
        missing_cameras=["CAM_BACK"],
        memory_state=FrameStatus.MEMORY_EMPTY,
        reset_reason="time jumped back",
        frames_received=2**40,
        frames_answered=2**40 - 1,
        frames_dropped=1,
        model="student",
    )
    assert round_trip(message) == message
    message.camera_age_ms = [0.0, math.nan]
    assert math.isnan(round_trip(message).camera_age_ms[1])


def test_outcomes_differ():
    assert len({FrameStatus.ANSWERED, FrameStatus.DROPPED, FrameStatus.REJECTED}) == 3


def test_sample_round_trip():
    message = Sample(header=header(), scene="scene-0061", sample_token="ca9a282c9e77460f8360f564131a8af5")
    assert round_trip(message) == message


def test_tf_message_round_trip():
    message = TFMessage(transforms=[TransformStamped(header=header(), child_frame_id="LIDAR_TOP")])
    assert round_trip(message) == message


@pytest.mark.parametrize("path", sorted((ROOT / "kd_msgs" / "msg").glob("*.msg")), ids=lambda path: path.stem)
def test_every_field_is_explained(path):
    """A comment stands above each field or above the group of fields it belongs to."""
    for group in re.split(r"\n\s*\n", path.read_text().strip()):
        assert group.startswith("#"), f"{path.name}: nothing explains\n{group}"
