"""Transforms and poses: geometry_msgs -> 4x4 matrices. Messages hold quaternions (x, y, z, w), we (w, x, y, z)."""

import numpy as np
from geometry_msgs.msg import Pose, Quaternion, Transform, Vector3

from kd_perception.errors import DataError
from kd_perception.geometry.transforms import make_transform


def from_quaternion(message: Quaternion) -> np.ndarray:
    """(w, x, y, z) of a message."""
    return np.array([message.w, message.x, message.y, message.z])


def from_transform(message: Transform) -> np.ndarray:
    """4x4 matrix of a Transform; raises DataError if its quaternion is no rotation."""
    return _matrix(message.rotation, message.translation)


def from_pose(message: Pose) -> np.ndarray:
    """4x4 matrix of a Pose; raises DataError if its quaternion is no rotation."""
    return _matrix(message.orientation, message.position)


def _matrix(rotation: Quaternion, translation: Vector3) -> np.ndarray:
    try:
        return make_transform(from_quaternion(rotation), [translation.x, translation.y, translation.z])
    except ValueError as error:
        raise DataError(f"a pose or transform cannot be used: {error}") from error
