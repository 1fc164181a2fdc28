"""Boxes as RViz markers: a translucent cube in the class's colour, a velocity arrow and a label.

The arrow is the displacement over the next second.
"""

import math

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from kd_perception.drawing.cameras import CLASS_COLORS
from kd_perception.geometry.boxes import CLASSES, Boxes
from kd_perception.geometry.transforms import quaternion_from_yaw
from kd_perception.ros.geometry import to_quaternion
from kd_perception.ros.stamps import to_time

ARROW_SPEED = 0.5  # m/s: slower boxes get no arrow


def to_markers(boxes: Boxes, stamp_ns: int, frame_id: str) -> MarkerArray:
    """Markers that replace the last array's: one that clears, then cubes, velocity arrows and labels by namespace."""
    header = Header(stamp=to_time(stamp_ns), frame_id=frame_id)
    markers = [Marker(header=header, ns="boxes", action=Marker.DELETEALL)]
    for index in range(len(boxes)):
        markers.append(_cube(header, boxes, index))
        markers.append(_label(header, boxes, index))
        speed = math.hypot(*boxes.velocity[index])
        if math.isfinite(speed) and speed > ARROW_SPEED:
            markers.append(_arrow(header, boxes, index))
    return MarkerArray(markers=markers)


def _cube(header: Header, boxes: Boxes, index: int) -> Marker:
    length, width, height = map(float, boxes.size[index])
    pose = Pose(
        position=_point(boxes.center[index]), orientation=to_quaternion(quaternion_from_yaw(float(boxes.yaw[index])))
    )
    size = Vector3(x=length, y=width, z=height)
    return Marker(
        header=header, ns="boxes", id=index, type=Marker.CUBE, pose=pose, scale=size, color=_color(boxes, index, 0.45)
    )


def _arrow(header: Header, boxes: Boxes, index: int) -> Marker:
    end = boxes.center[index] + np.append(boxes.velocity[index], 0.0)
    size = Vector3(x=0.15, y=0.35, z=0.5)  # shaft, head width, head length
    marker = Marker(
        header=header, ns="velocity", id=index, type=Marker.ARROW, scale=size, color=_color(boxes, index, 0.9)
    )
    marker.points = [_point(boxes.center[index]), _point(end)]
    return marker


def _label(header: Header, boxes: Boxes, index: int) -> Marker:
    above = boxes.center[index] + [0.0, 0.0, boxes.size[index, 2] / 2.0 + 0.5]
    text = f"{CLASSES[int(boxes.label[index])]} {boxes.score[index]:.2f}"
    marker = Marker(
        header=header, ns="labels", id=index, type=Marker.TEXT_VIEW_FACING, color=_color(boxes, index, 1.0), text=text
    )
    marker.pose.position = _point(above)
    marker.scale.z = 0.6
    return marker


def _point(xyz: np.ndarray) -> Point:
    x, y, z = map(float, xyz)
    return Point(x=x, y=y, z=z)


def _color(boxes: Boxes, index: int, alpha: float) -> ColorRGBA:
    red, green, blue = (channel / 255.0 for channel in CLASS_COLORS[CLASSES[int(boxes.label[index])]])
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
