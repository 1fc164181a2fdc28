"""Messages of bags and live ones are the same: field by field the same bytes, whichever type system made them."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: there are no live messages to compare with")

from rclpy.serialization import deserialize_message, serialize_message

from kd_perception.bags.messages import BAG, typestore
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform
from kd_perception.messages.detections import FORMATS, Detections
from kd_perception.messages.markers import ADD, ARROW, CUBE, DELETEALL, LINE_LIST, TEXT_VIEW_FACING, MarkerFrame
from kd_perception.ros.live import LIVE

STAMP = 1_700_000_000_123_456_789
POSE = make_transform([0.9, 0.1, -0.2, 0.3], [1.0, -2.0, 3.0])
CAMERA = Camera(
    "CAM_FRONT", np.array([[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]), POSE, 1600, 900,
    "plumb_bob", (-0.1, 0.02, 1e-3, -1e-3, 0.0),
)  # fmt: skip

BOXES = Boxes(
    center=np.array([[5.0, 1.0, 0.5], [-3.0, 2.0, 1.0], [9.0, -4.0, 0.2]]), size=np.full((3, 3), 1.5),
    yaw=np.array([0.1, -2.0, 3.0]), velocity=np.array([[2.0, 0.0], [0.0, 0.0], [np.nan, np.nan]]),
    label=np.array([0, 8, 9]), score=np.array([0.9, 0.5, 0.1]),
)  # fmt: skip

BUILT = {
    "header": lambda build: build.header(STAMP, "map"),
    "transform": lambda build: build.transform("odom", "base_link", STAMP, POSE),
    "camera info": lambda build: build.camera_info(CAMERA, "front", STAMP),
    "compressed image": lambda build: build.compressed_image(STAMP, "front", b"\xff\xd8 pixels", "jpeg"),
    "ground truth": lambda build: MarkerFrame(build, "base_link", STAMP).ground_truth(BOXES),
    "detections": lambda build: MarkerFrame(build, "base_link", STAMP).detections(BOXES),
    **{
        name: partial(kind.build, found=Detections(BOXES[:2], STAMP, "base_link", "m"))
        for name, kind in FORMATS.items()
    },
}


@pytest.mark.parametrize("name", BUILT)
def test_a_bag_holds_what_a_topic_carries(name):
    live, recorded = BUILT[name](LIVE), BUILT[name](BAG)
    cdr = bytes(typestore().serialize_cdr(recorded, recorded.__msgtype__))
    carried = deserialize_message(serialize_message(live), type(live))  # floats of 32 bits are rounded on the way
    assert deserialize_message(cdr, type(live)) == carried
    back = typestore().deserialize_cdr(serialize_message(live), recorded.__msgtype__)
    assert bytes(typestore().serialize_cdr(back, back.__msgtype__)) == cdr


def test_fields_that_are_not_given_are_the_zeros_of_a_live_message():
    for type_name in ("sensor_msgs/msg/CameraInfo", "visualization_msgs/msg/Marker", "kd_msgs/msg/FrameStatus"):
        cdr = bytes(typestore().serialize_cdr(BAG.make(type_name), type_name))
        made = deserialize_message(cdr, type(LIVE.make(type_name)))
        if type_name.endswith("Marker"):
            made.pose.orientation.w = 1.0  # the only default of these types that is no zero
        assert made == LIVE.make(type_name)


def test_times_outside_32_bit_seconds_are_refused():
    assert (LIVE.time(-1).sec, LIVE.time(-1).nanosec) == (-1, 999_999_999) == (BAG.time(-1).sec, BAG.time(-1).nanosec)
    for build in (LIVE, BAG):
        with pytest.raises(ValueError, match="outside builtin_interfaces/Time"):
            build.time(2**63)


def test_constants_are_those_of_the_message_definition():
    marker = type(LIVE.make("visualization_msgs/msg/Marker"))
    assert (marker.ARROW, marker.CUBE, marker.LINE_LIST) == (ARROW, CUBE, LINE_LIST)
    assert marker.TEXT_VIEW_FACING == TEXT_VIEW_FACING
    assert (marker.ADD, marker.DELETEALL) == (ADD, DELETEALL)
