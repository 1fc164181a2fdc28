"""Boxes as RViz markers: detections as translucent cubes in their class's colour, ground truth as white outlines.

Arrows show the displacement over the next second. A message replaces all that the topic's last one left in RViz: it
begins with DELETEALL. That marker has the empty namespace, for two reasons. RViz reports two markers of one namespace
and id in a message as an error, and clears only the namespace that DELETEALL names if it names one.
"""

import math
from dataclasses import dataclass

import numpy as np

from kd_perception.drawing.cameras import EDGES
from kd_perception.drawing.style import GROUND_TRUTH_COLOR, Color
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import quaternion_from_yaw
from kd_perception.messages.builder import Message, MessageBuilder

ARROW, CUBE, LINE_LIST, TEXT_VIEW_FACING = 0, 1, 5, 9  # visualization_msgs/Marker types
ADD, DELETEALL = 0, 3  # and actions
ARROW_SPEED = 0.5  # m/s: slower boxes get no arrow
UNTURNED = (1.0, 0.0, 0.0, 0.0)  # quaternion (w, x, y, z)
OUTLINE_WIDTH = 0.08  # metres


@dataclass(frozen=True)
class MarkerFrame:
    """Where and when markers are: frame and stamp of the boxes."""

    build: MessageBuilder
    frame_id: str
    stamp_ns: int

    def ground_truth(self, boxes: Boxes) -> Message:
        """A MarkerArray of outlines, one LINE_LIST a box, that replaces the topic's last one."""
        return self._array([self._outline(corners, index) for index, corners in enumerate(boxes.corners())])

    def detections(self, boxes: Boxes) -> Message:
        """A MarkerArray of cubes, velocity arrows and labels, by namespace, that replaces the topic's last one."""
        markers = []
        for index in range(len(boxes)):
            markers += [self._cube(boxes, index), self._label(boxes, index)]
            speed = math.hypot(*boxes.velocity[index])
            if math.isfinite(speed) and speed > ARROW_SPEED:
                markers.append(self._arrow(boxes, index))
        return self._array(markers)

    def _array(self, markers: list[Message]) -> Message:
        clear = self._marker(action=DELETEALL)
        return self.build.make("visualization_msgs/msg/MarkerArray", markers=[clear, *markers])

    def _outline(self, corners: np.ndarray, index: int) -> Message:
        """The twelve edges of a box with these corners (8, 3)."""
        points = [self.build.point(corners[corner]) for edge in EDGES for corner in edge]
        scale, colour = self.build.vector((OUTLINE_WIDTH, 0.0, 0.0)), self._rgba(GROUND_TRUTH_COLOR, 1.0)
        return self._marker(ns="truth", id=index, type=LINE_LIST, scale=scale, color=colour, points=points)

    def _cube(self, boxes: Boxes, index: int) -> Message:
        pose = self.build.pose(boxes.center[index], quaternion_from_yaw(float(boxes.yaw[index])))
        colour = self._colour(boxes, index, 0.45)
        scale = self.build.vector(boxes.size[index])
        return self._marker(ns="boxes", id=index, type=CUBE, pose=pose, scale=scale, color=colour)

    def _arrow(self, boxes: Boxes, index: int) -> Message:
        end = boxes.center[index] + np.append(boxes.velocity[index], 0.0)
        scale = self.build.vector((0.15, 0.35, 0.5))  # shaft, head width, head length
        points = [self.build.point(boxes.center[index]), self.build.point(end)]
        colour = self._colour(boxes, index, 0.9)
        return self._marker(ns="velocity", id=index, type=ARROW, scale=scale, color=colour, points=points)

    def _label(self, boxes: Boxes, index: int) -> Message:
        above = boxes.center[index] + [0.0, 0.0, boxes.size[index, 2] / 2.0 + 0.5]
        text = f"{boxes.class_of(index).name} {boxes.score[index]:.2f}"
        scale, colour = self.build.vector((0.0, 0.0, 0.6)), self._colour(boxes, index, 1.0)
        pose = self.build.pose(above, UNTURNED)
        return self._marker(
            ns="labels", id=index, type=TEXT_VIEW_FACING, pose=pose, scale=scale, color=colour, text=text
        )

    def _marker(self, **fields: object) -> Message:
        """A Marker of these fields; RViz warns about a quaternion of zeros, so every marker has a pose."""
        unturned = {"pose": self.build.pose((0.0, 0.0, 0.0), UNTURNED), "action": ADD}
        head = self.build.header(self.stamp_ns, self.frame_id)
        return self.build.make("visualization_msgs/msg/Marker", header=head, **{**unturned, **fields})

    def _colour(self, boxes: Boxes, index: int, alpha: float) -> Message:
        return self._rgba(boxes.class_of(index).color, alpha)

    def _rgba(self, color: Color, alpha: float) -> Message:
        red, green, blue = (channel / 255.0 for channel in color)
        return self.build.make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=alpha)
