"""sensor_msgs/PointCloud2 of a LiDAR -> points with intensity, whatever its driver calls that and scales it to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import PointCloud2

from kd_perception.ros.pointclouds import finite_points

INTENSITIES = ("intensity", "reflectivity", "reflectance")  # names that drivers give it, the best first
DIM = 0.02  # of full_intensity: a whole cloud below is of another scale


@dataclass(frozen=True, eq=False)
class LidarPoints:
    """points (N, columns): x, y, z, intensity, 0 without one, then what else was wanted and is there; problem: kind and
    sentence, or two empty texts."""

    points: np.ndarray
    columns: tuple[str, ...]
    problem: tuple[str, str]


def lidar_points(message: PointCloud2, full_intensity: float, further: Sequence[str] = ()) -> LidarPoints:
    """The points of a cloud with fields of any type; `full_intensity` is that of the brightest point, `further` names
    fields that are wanted, too. Raises DataError if the cloud is broken."""
    points, found = finite_points(message, (*INTENSITIES, *further))
    name = next((name for name in INTENSITIES if name in found), "")
    intensity = points[:, found.index(name)] if name else np.zeros(len(points), np.float32)
    others = [column for column in further if column in found]
    rest = [points[:, found.index(column)] for column in others]
    where = f"clouds in frame '{message.header.frame_id}'"
    most = intensity.max(initial=0.0, where=np.isfinite(intensity))
    problem = ("", "")
    if not name:
        why = f"{where} have no intensity, which the teacher was trained with; let the driver publish it"
        problem = ("clouds_without_intensity", why)
    elif len(points) and not DIM * full_intensity <= most <= full_intensity:
        why = f"{where} have intensities up to {most:g}, where full_intensity is {full_intensity:g}; set it as needed"
        problem = ("intensity_scale", why)
    made = np.column_stack([points[:, :3], intensity, *rest])
    return LidarPoints(made, ("x", "y", "z", "intensity", *others), problem)
