"""Boxes to draw, and where a colour is in a picture."""

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES


def box(
    x: float, y: float, z: float = 1.0, yaw: float = 0.0, name: str = "car", velocity: tuple[float, float] = (0.0, 0.0)
) -> Boxes:
    return Boxes(
        np.array([[x, y, z]]),
        np.array([[4.0, 2.0, 1.6]]),
        np.array([yaw]),
        np.array([velocity]),
        np.array([CLASSES.index(name)]),
        np.array([0.8]),
    )


def color_of(name: str) -> tuple[int, int, int]:
    """The RGB colour of a nuScenes class."""
    return NUSCENES.classes[NUSCENES.label(name)].color


def painted(picture: np.ndarray, color: tuple[int, int, int], tolerance: int = 90) -> np.ndarray:
    """Pixels (N, 2) as u, v whose colour is near `color`."""
    rows, columns = np.nonzero(np.abs(picture.astype(int) - color).sum(axis=2) < tolerance)
    return np.column_stack([columns, rows])
