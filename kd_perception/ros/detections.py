"""Boxes <-> kd_msgs/Detection3DArray: yaw <-> quaternion (x, y, z, w), label <-> class name."""

import math

import numpy as np

from kd_msgs.msg import Detection3D, Detection3DArray
from kd_perception.errors import DataError
from kd_perception.geometry.attributes import attribute_of
from kd_perception.geometry.boxes import CLASSES, Boxes
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw, yaw_of
from kd_perception.ros.geometry import from_quaternion
from kd_perception.ros.live import LIVE


def to_detection_array(boxes: Boxes, stamp_ns: int, frame_id: str, model: str) -> Detection3DArray:
    """The message of boxes in `frame_id` at a time; `model` names the student (Student.model_id)."""
    detections = [_to_detection(boxes, i) for i in range(len(boxes))]
    return Detection3DArray(header=LIVE.header(stamp_ns, frame_id), detections=detections, model=model)


def from_detection_array(message: Detection3DArray) -> Boxes:
    """Boxes of a message, in its frame; raises DataError for an unknown class or a pose without rotation."""
    detections = message.detections
    unknown = sorted({d.class_name for d in detections} - set(CLASSES))
    if unknown:
        raise DataError(
            f"detections name unknown classes: {', '.join(unknown)}; use the nuScenes classes {', '.join(CLASSES)}"
        )
    if not detections:
        return Boxes.empty()
    return Boxes(
        center=np.array([[d.pose.position.x, d.pose.position.y, d.pose.position.z] for d in detections]),
        size=np.array([[d.size.x, d.size.y, d.size.z] for d in detections]),
        yaw=np.array([_yaw(d) for d in detections]),
        velocity=np.array([[d.velocity.x, d.velocity.y] for d in detections]),
        label=np.array([CLASSES.index(d.class_name) for d in detections], dtype=np.int64),
        score=np.array([d.score for d in detections], dtype=np.float64),
    )


def _to_detection(boxes: Boxes, index: int) -> Detection3D:
    vx, vy = map(float, boxes.velocity[index])
    label = int(boxes.label[index])
    return Detection3D(
        class_name=CLASSES[label],
        class_id=label,
        score=float(boxes.score[index]),
        pose=LIVE.pose(boxes.center[index], quaternion_from_yaw(float(boxes.yaw[index]))),
        size=LIVE.vector(boxes.size[index]),
        velocity=LIVE.vector((vx, vy, 0.0)),
        attribute=attribute_of(CLASSES[label], math.hypot(vx, vy)),
    )


def _yaw(detection: Detection3D) -> float:
    try:
        return yaw_of(make_transform(from_quaternion(detection.pose.orientation), np.zeros(3)))
    except ValueError as error:
        raise DataError(f"a {detection.class_name} detection has no usable orientation: {error}") from error
