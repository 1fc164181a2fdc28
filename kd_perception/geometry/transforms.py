"""Rigid transforms as 4x4 float64 matrices named `target_from_source`; points are rows.

Quaternions are (w, x, y, z), as in nuScenes and transforms3d; ROS messages' (x, y, z, w) is converted where messages
are read and written. Axes follow REP-103 (x forward, y left, z up), optical frames x right, y down, z forward.
"""

import numpy as np
from transforms3d.quaternions import mat2quat, quat2mat


def make_transform(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """4x4 transform from a rotation (3x3 matrix or (w, x, y, z) quaternion) and a translation (3,) in metres.

    Raises ValueError if the quaternion is not finite or has no length.
    """
    rotation = np.asarray(rotation, dtype=np.float64)
    if rotation.shape == (4,):
        norm = np.linalg.norm(rotation)
        if not np.isfinite(norm) or norm < 1e-6:
            raise ValueError(
                f"quaternion {rotation.tolist()} (w, x, y, z) is no rotation: it must be finite and have a length"
            )
        rotation = quat2mat(rotation / norm)
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation
    return transform


def invert(transform: np.ndarray) -> np.ndarray:
    """Inverse of a rigid 4x4 transform: `source_from_target`."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) of the source frame in the target frame."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def apply_to_columns(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`apply` for points (3, N), one row a coordinate: faster for many, as NumPy is slow where rows are short."""
    moved = transform[:3, :3] @ points
    moved += transform[:3, 3:]
    return moved


def quaternion_from_yaw(yaw: float) -> np.ndarray:
    """(w, x, y, z) of a rotation by `yaw` radians about +z."""
    return np.array([np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)])


def yaw_of(transform: np.ndarray) -> float:
    """Heading of the source frame's x axis in the target's xy plane, radians in (-pi, pi]."""
    return float(np.arctan2(transform[1, 0], transform[0, 0]))


def quaternion_of(transform: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a 4x4 transform's rotation, w >= 0."""
    return mat2quat(transform[:3, :3])


def wrap_angle(angle: np.ndarray) -> np.ndarray:
    """Angles in radians, wrapped to [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2.0 * np.pi) - np.pi


def interpolate(start: np.ndarray, end: np.ndarray, fraction: float) -> np.ndarray:
    """Transform between two: translation linear, rotation along the shortest arc (slerp), `fraction` in [0, 1]."""
    first, second = quaternion_of(start), quaternion_of(end)
    cosine = float(first @ second)
    if cosine < 0.0:
        second, cosine = -second, -cosine
    if cosine > 1.0 - 1e-10:
        blended = (1.0 - fraction) * first + fraction * second
    else:
        angle = np.arccos(cosine)
        blended = (np.sin((1.0 - fraction) * angle) * first + np.sin(fraction * angle) * second) / np.sin(angle)
    return make_transform(blended, (1.0 - fraction) * start[:3, 3] + fraction * end[:3, 3])
