"""Detections as our own, vision_msgs' and Autoware's messages: each field by its definition, live and in a bag."""

import math
from typing import get_args, get_type_hints

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: there are no live messages")
pytest.importorskip("vision_msgs", reason="vision_msgs is not installed")
pytest.importorskip("autoware_perception_msgs", reason="autoware_perception_msgs is not installed")

from autoware_perception_msgs.msg import DetectedObjectKinematics, DetectedObjects, ObjectClassification, Shape
from rclpy.serialization import deserialize_message, serialize_message
from vision_msgs.msg import Detection3DArray

from kd_perception.bags.messages import BAG
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.messages.detections import FORMATS, Detections, autoware_detections, vision_detections
from kd_perception.options.detector import DetectorOptions
from kd_perception.ros.live import LIVE

STAMP = 1_532_402_927_612_460_123
QUARTER = math.pi / 2


def boxes_of(**changes):
    """One box of each class, no two fields of it alike; `changes` replace whole arrays."""
    rng = np.random.default_rng(5)
    count = len(CLASSES)
    arrays = {
        "center": rng.normal(0.0, 20.0, (count, 3)),
        "size": np.sort(rng.uniform(0.3, 9.0, (count, 3)))[:, ::-1],
        "yaw": rng.uniform(-np.pi, np.pi, count),
        "velocity": rng.normal(0.0, 3.0, (count, 2)),
        "label": np.arange(count),
        "score": rng.uniform(0.1, 1.0, count),
    }
    return Boxes(**{**arrays, **changes})


def over_the_wire(build, boxes):
    message = build(LIVE, Detections(boxes, STAMP, "base_link"))
    return deserialize_message(serialize_message(message), type(message))


def yaw(orientation):
    """Heading of a quaternion that turns about +z only."""
    assert orientation.x == orientation.y == 0.0
    assert math.isclose(math.hypot(orientation.w, orientation.z), 1.0)
    return 2.0 * math.atan2(orientation.z, orientation.w)


def assert_pose(pose, boxes, index):
    assert [pose.position.x, pose.position.y, pose.position.z] == boxes.center[index].tolist()
    assert math.isclose(math.remainder(yaw(pose.orientation) - boxes.yaw[index], math.tau), 0.0, abs_tol=1e-9)


def assert_size(vector, boxes, index):
    """x is the length, along the heading; y the width; z the height."""
    assert [vector.x, vector.y, vector.z] == boxes.size[index].tolist()


def assert_header(header):
    assert (header.frame_id, header.stamp.sec, header.stamp.nanosec) == ("base_link", STAMP // 10**9, STAMP % 10**9)


def test_vision_detections_field_by_field():
    boxes = boxes_of()
    message = over_the_wire(vision_detections, boxes)
    assert isinstance(message, Detection3DArray) and len(message.detections) == len(boxes)
    assert_header(message.header)
    for index, detection in enumerate(message.detections):
        assert_header(detection.header)
        assert_pose(detection.bbox.center, boxes, index)
        assert_size(detection.bbox.size, boxes, index)
        (result,) = detection.results
        assert result.hypothesis.class_id == CLASSES[index] and result.hypothesis.score == boxes.score[index]
        assert result.pose.pose == detection.bbox.center and not result.pose.covariance.any()
        assert detection.id == ""  # nothing is tracked


def test_autoware_objects_field_by_field():
    boxes = boxes_of()
    message = over_the_wire(autoware_detections, boxes)
    assert isinstance(message, DetectedObjects) and len(message.objects) == len(boxes)
    assert_header(message.header)
    for index, found in enumerate(message.objects):
        assert found.existence_probability == np.float32(boxes.score[index])
        (kind,) = found.classification
        assert kind.probability == 1.0
        kinematics = found.kinematics
        assert_pose(kinematics.pose_with_covariance.pose, boxes, index)
        assert not kinematics.has_position_covariance and not kinematics.has_twist_covariance
        twist = kinematics.twist_with_covariance.twist
        assert kinematics.has_twist and twist.linear.z == 0.0
        assert (twist.angular.x, twist.angular.y, twist.angular.z) == (0.0, 0.0, 0.0)
        heading = yaw(kinematics.pose_with_covariance.pose.orientation)
        back = np.exp(1j * heading) * (twist.linear.x + 1j * twist.linear.y)  # turned back into the header's axes
        assert np.allclose([back.real, back.imag], boxes.velocity[index])
        assert found.shape.type == Shape.BOUNDING_BOX and not found.shape.footprint.points
        assert_size(found.shape.dimensions, boxes, index)


@pytest.mark.parametrize(
    "heading, velocity, along, across",
    [(0.0, (3.0, 1.0), 3.0, 1.0), (QUARTER, (0.0, 5.0), 5.0, 0.0), (QUARTER, (2.0, 0.0), 0.0, -2.0)],
    ids=["like the robot", "crossing to the left", "slipping to its right"],
)
def test_the_twist_is_in_the_objects_own_axes(heading, velocity, along, across):
    one = boxes_of()[:1]
    one = Boxes(one.center, one.size, np.array([heading]), np.array([velocity]), one.label, one.score)
    linear = over_the_wire(autoware_detections, one).objects[0].kinematics.twist_with_covariance.twist.linear
    assert np.allclose([linear.x, linear.y], [along, across])


def test_an_unknown_velocity_is_no_twist_and_no_nan():
    boxes = boxes_of(velocity=np.full((len(CLASSES), 2), np.nan))
    for found in over_the_wire(autoware_detections, boxes).objects:
        linear = found.kinematics.twist_with_covariance.twist.linear
        assert not found.kinematics.has_twist and (linear.x, linear.y, linear.z) == (0.0, 0.0, 0.0)


def test_classes_have_the_labels_that_autoware_names_alike_and_others_are_unknown():
    objects = over_the_wire(autoware_detections, boxes_of()).objects
    for name, found in zip(CLASSES, objects, strict=True):
        assert found.classification[0].label == getattr(
            ObjectClassification, name.upper(), ObjectClassification.UNKNOWN
        )
    unknown = {n for n, o in zip(CLASSES, objects, strict=True) if o.classification[0].label == 0}
    assert unknown == {"construction_vehicle", "barrier", "traffic_cone"}


def test_what_has_no_front_says_so():
    objects = over_the_wire(autoware_detections, boxes_of()).objects
    headings = {n: o.kinematics.orientation_availability for n, o in zip(CLASSES, objects, strict=True)}
    assert headings.pop("barrier") == DetectedObjectKinematics.SIGN_UNKNOWN
    assert headings.pop("traffic_cone") == DetectedObjectKinematics.UNAVAILABLE
    assert set(headings.values()) == {DetectedObjectKinematics.AVAILABLE}


def test_an_empty_frame_is_an_empty_list():
    assert not over_the_wire(vision_detections, Boxes.empty()).detections
    assert not over_the_wire(autoware_detections, Boxes.empty()).objects


def test_the_option_offers_exactly_these_formats():
    assert get_args(get_args(get_type_hints(DetectorOptions)["output_messages"])[0]) == tuple(FORMATS)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bags_hold_each_of_them(tmp_path, storage):
    found = Detections(boxes_of(), STAMP, "base_link", "student@1")
    with BagWriter(tmp_path / "bag", storage) as bag:
        for name, kind in FORMATS.items():
            bag.write(f"/{name}", kind.build(BAG, found), STAMP)
    reader = BagReader(tmp_path / "bag")
    read = {topic: cdr for topic, _, cdr in reader.messages()}
    types = {topic.name: topic.type_name for topic in reader.topics}
    reader.close()
    assert not reader.problems
    for name, kind in FORMATS.items():
        assert types[f"/{name}"] == kind.type_name
        live = kind.build(LIVE, found)
        assert deserialize_message(read[f"/{name}"], type(live)) == deserialize_message(
            serialize_message(live), type(live)
        )


def test_a_type_that_is_not_installed_is_named():
    with pytest.raises(DataError, match="'nobodys_msgs/msg/Thing' is not installed; install nobodys_msgs"):
        BAG.make("nobodys_msgs/msg/Thing")
