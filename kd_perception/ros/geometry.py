"""Transforms and poses: 4x4 matrices <-> geometry_msgs. Messages hold quaternions (x, y, z, w), we (w, x, y, z)."""

import numpy as np
from geometry_msgs.msg import Pose, Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header

from kd_perception.errors import DataError
from kd_perception.geometry.transforms import make_transform, quaternion_of
from kd_perception.ros.stamps import to_time


def from_quaternion(message: Quaternion) -> np.ndarray:
    """(w, x, y, z) of a message."""
    return np.array([message.w, message.x, message.y, message.z])


def to_quaternion(quaternion: np.ndarray) -> Quaternion:
    """Message of a (w, x, y, z) quaternion."""
    w, x, y, z = map(float, quaternion)
    return Quaternion(x=x, y=y, z=z, w=w)


def from_transform(message: Transform) -> np.ndarray:
    """4x4 matrix of a Transform; raises DataError if its quaternion is no rotation."""
    return _matrix(message.rotation, message.translation)


def from_pose(message: Pose) -> np.ndarray:
    """4x4 matrix of a Pose; raises DataError if its quaternion is no rotation."""
    return _matrix(message.orientation, message.position)


def to_transform_stamped(parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray) -> TransformStamped:
    """A tf entry: `parent_from_child` is what tf calls the transform of `child` in `parent`."""
    x, y, z = map(float, parent_from_child[:3, 3])
    transform = Transform(translation=Vector3(x=x, y=y, z=z), rotation=to_quaternion(quaternion_of(parent_from_child)))
    return TransformStamped(
        header=Header(stamp=to_time(stamp_ns), frame_id=parent), child_frame_id=child, transform=transform
    )


def _matrix(rotation: Quaternion, translation: Vector3) -> np.ndarray:
    try:
        return make_transform(from_quaternion(rotation), [translation.x, translation.y, translation.z])
    except ValueError as error:
        raise DataError(f"a pose or transform cannot be used: {error}") from error
