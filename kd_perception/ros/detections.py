"""Boxes <-> kd_msgs/Detection3DArray: yaw <-> quaternion (x, y, z, w), label <-> class name."""

import numpy as np

from kd_msgs.msg import Detection3D, Detection3DArray
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import make_transform, yaw_of
from kd_perception.messages.detections import Detections, kd_detections
from kd_perception.ros.geometry import from_quaternion
from kd_perception.ros.live import LIVE


def to_detection_array(boxes: Boxes, stamp_ns: int, frame_id: str, model: str) -> Detection3DArray:
    """The message of boxes in `frame_id` at a time; `model` names the student (Student.model_id)."""
    return kd_detections(LIVE, Detections(boxes, stamp_ns, frame_id, model))


def other_classes(message: Detection3DArray, classes: ClassList) -> list[str]:
    """Names of a message's classes that a list lacks, in alphabetical order: a student may have been swapped for one
    that finds more."""
    return sorted({entry.class_name for entry in message.detections} - set(classes.names))


def from_detection_array(message: Detection3DArray, classes: ClassList = NUSCENES) -> Boxes:
    """Boxes of a message, in its frame; raises DataError for an unknown class or a pose without rotation."""
    detections = message.detections
    unknown = other_classes(message, classes)
    if unknown:
        raise DataError(
            f"detections name unknown classes: {', '.join(unknown)}; known are {', '.join(classes.names)}: set the "
            "parameter `classes` to the detector's student file or class list"
        )
    if not detections:
        return Boxes.empty(classes)
    return Boxes(
        center=np.array([[d.pose.position.x, d.pose.position.y, d.pose.position.z] for d in detections]),
        size=np.array([[d.size.x, d.size.y, d.size.z] for d in detections]),
        yaw=np.array([_yaw(d) for d in detections]),
        velocity=np.array([[d.velocity.x, d.velocity.y] for d in detections]),
        label=np.array([classes.label(d.class_name) for d in detections], dtype=np.int64),
        score=np.array([d.score for d in detections], dtype=np.float64),
        classes=classes,
    )


def _yaw(detection: Detection3D) -> float:
    try:
        return yaw_of(make_transform(from_quaternion(detection.pose.orientation), np.zeros(3)))
    except ValueError as error:
        raise DataError(f"a {detection.class_name} detection has no usable orientation: {error}") from error
