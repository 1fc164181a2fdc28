"""Boxes as messages of three interfaces: our own, `vision_msgs` and Autoware's; for topics and for bags.

Conversions at this edge: yaw -> quaternion, label -> name or number of the class, and, for Autoware, velocity over
ground in the axes of the header's frame -> in those of the object.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import quaternion_from_yaw
from kd_perception.messages.builder import Message, MessageBuilder

# autoware_perception_msgs/ObjectClassification, by class name; what it has no label for is UNKNOWN.
AUTOWARE_UNKNOWN = 0
AUTOWARE_LABELS = {
    "car": 1, "truck": 2, "bus": 3, "trailer": 4, "motorcycle": 5, "bicycle": 6, "pedestrian": 7, "animal": 8,
}  # fmt: skip
# autoware_perception_msgs/DetectedObjectKinematics.orientation_availability, by a class's heading
ORIENTATION = {"none": 0, "axis": 1, "full": 2}
BOUNDING_BOX = 0  # autoware_perception_msgs/Shape.type


@dataclass(frozen=True)
class Detections:
    """What a detector found in one frame: boxes in `frame_id` at `stamp_ns`; model: Student.model_id."""

    boxes: Boxes
    stamp_ns: int
    frame_id: str
    model: str = ""

    def class_name(self, index: int) -> str:
        """Name of a box's class."""
        return self.boxes.class_of(index).name


@dataclass(frozen=True)
class DetectionFormat:
    """An interface that detections are published in; `build` makes a message of `type_name`."""

    type_name: str
    topic: str
    build: Callable[[MessageBuilder, Detections], Message]

    @property
    def package(self) -> str:
        """The package that defines the type."""
        return self.type_name.partition("/")[0]


def kd_detections(build: MessageBuilder, found: Detections) -> Message:
    """kd_msgs/Detection3DArray."""
    detections = [_kd_detection(build, found, index) for index in range(len(found.boxes))]
    head = build.header(found.stamp_ns, found.frame_id)
    return build.make("kd_msgs/msg/Detection3DArray", header=head, detections=detections, model=found.model)


def vision_detections(build: MessageBuilder, found: Detections) -> Message:
    """vision_msgs/Detection3DArray: one hypothesis a box, its class_id our class name; it has no place for velocity."""
    head = build.header(found.stamp_ns, found.frame_id)
    detections = [_vision_detection(build, found, index, head) for index in range(len(found.boxes))]
    return build.make("vision_msgs/msg/Detection3DArray", header=head, detections=detections)


def autoware_detections(build: MessageBuilder, found: Detections) -> Message:
    """autoware_perception_msgs/DetectedObjects; a box whose velocity is NaN has no twist."""
    objects = [_autoware_object(build, found, index) for index in range(len(found.boxes))]
    head = build.header(found.stamp_ns, found.frame_id)
    return build.make("autoware_perception_msgs/msg/DetectedObjects", header=head, objects=objects)


# By the names that the option `output_messages` has for them; topics as Autoware's detectors name theirs.
FORMATS = {
    "kd": DetectionFormat("kd_msgs/msg/Detection3DArray", "~/output/objects", kd_detections),
    "vision": DetectionFormat("vision_msgs/msg/Detection3DArray", "~/output/vision/objects", vision_detections),
    "autoware": DetectionFormat(
        "autoware_perception_msgs/msg/DetectedObjects", "~/output/autoware/objects", autoware_detections
    ),
}


def _pose(build: MessageBuilder, boxes: Boxes, index: int) -> Message:
    return build.pose(boxes.center[index], quaternion_from_yaw(float(boxes.yaw[index])))


def _kd_detection(build: MessageBuilder, found: Detections, index: int) -> Message:
    boxes = found.boxes
    vx, vy = map(float, boxes.velocity[index])
    return build.make(
        "kd_msgs/msg/Detection3D",
        class_name=found.class_name(index),
        class_id=int(boxes.label[index]),
        score=float(boxes.score[index]),
        pose=_pose(build, boxes, index),
        size=build.vector(boxes.size[index]),
        velocity=build.vector((vx, vy, 0.0)),
        attribute=boxes.class_of(index).attribute(math.hypot(vx, vy)),
    )


def _vision_detection(build: MessageBuilder, found: Detections, index: int, head: Message) -> Message:
    boxes, pose = found.boxes, _pose(build, found.boxes, index)
    hypothesis = build.make(
        "vision_msgs/msg/ObjectHypothesis", class_id=found.class_name(index), score=float(boxes.score[index])
    )
    result = build.make(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=hypothesis,
        pose=build.make("geometry_msgs/msg/PoseWithCovariance", pose=pose),
    )
    return build.make(
        "vision_msgs/msg/Detection3D",
        header=head,
        results=[result],
        bbox=build.make("vision_msgs/msg/BoundingBox3D", center=pose, size=build.vector(boxes.size[index])),
    )


def _autoware_object(build: MessageBuilder, found: Detections, index: int) -> Message:
    boxes, name = found.boxes, found.class_name(index)
    classification = build.make(
        "autoware_perception_msgs/msg/ObjectClassification",
        label=AUTOWARE_LABELS.get(name.lower(), AUTOWARE_UNKNOWN),
        probability=1.0,  # the score says whether there is such an object, as for Autoware's own detectors
    )
    shape = build.make(
        "autoware_perception_msgs/msg/Shape", type=BOUNDING_BOX, dimensions=build.vector(boxes.size[index])
    )
    return build.make(
        "autoware_perception_msgs/msg/DetectedObject",
        existence_probability=float(boxes.score[index]),
        classification=[classification],
        kinematics=_autoware_kinematics(build, boxes, index),
        shape=shape,
    )


def _autoware_kinematics(build: MessageBuilder, boxes: Boxes, index: int) -> Message:
    velocity, yaw = boxes.velocity[index], float(boxes.yaw[index])
    known = bool(np.isfinite(velocity).all())
    vx, vy = map(float, velocity) if known else (0.0, 0.0)
    along = math.cos(yaw) * vx + math.sin(yaw) * vy
    across = -math.sin(yaw) * vx + math.cos(yaw) * vy
    twist = build.make("geometry_msgs/msg/Twist", linear=build.vector((along, across, 0.0)))
    return build.make(
        "autoware_perception_msgs/msg/DetectedObjectKinematics",
        pose_with_covariance=build.make("geometry_msgs/msg/PoseWithCovariance", pose=_pose(build, boxes, index)),
        orientation_availability=ORIENTATION[boxes.class_of(index).heading],
        twist_with_covariance=build.make("geometry_msgs/msg/TwistWithCovariance", twist=twist),
        has_twist=known,
    )
