"""Point clouds of sensor files as rows of nuScenes' five columns.

A sample_data row may declare what the numbers of its file are in `columns`, a field of our own: KITTI's clouds have
four. Without it they are nuScenes' five.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_perception.errors import DataError

NUSCENES_COLUMNS = ("x", "y", "z", "intensity", "ring")  # metres in the LiDAR's frame, 0-255, number of the beam
KITTI_COLUMNS = ("x", "y", "z", "reflectance")  # reflectance is intensity from 0 to 1
FULL_INTENSITY = 255.0


def read_cloud(path: Path, columns: Sequence[str] = NUSCENES_COLUMNS) -> np.ndarray:
    """Points (N, 5) float32: NUSCENES_COLUMNS, zero where the file has no such column.

    Raises DataError if the file is absent or cut, or has no x, y and z.
    """
    if not {"x", "y", "z"} <= set(columns):
        raise DataError(
            f"the columns {', '.join(columns)} of point cloud {path} lack x, y or z; name them in the tables"
        )
    if not path.is_file():
        raise DataError(f"point cloud {path} is missing; restore it or choose a scene whose files are there")
    values = np.fromfile(path, dtype=np.float32)
    if len(values) % len(columns):
        raise DataError(
            f"point cloud {path} is truncated: {len(values)} numbers are not rows of {_number(len(columns))}; "
            "restore the file"
        )
    rows = values.reshape(-1, len(columns))
    if tuple(columns) == NUSCENES_COLUMNS:
        return rows
    points = np.zeros((len(rows), len(NUSCENES_COLUMNS)), np.float32)
    for index, name in enumerate(columns):
        if name == "reflectance":
            points[:, 3] = rows[:, index] * FULL_INTENSITY
        elif name in NUSCENES_COLUMNS:
            points[:, NUSCENES_COLUMNS.index(name)] = rows[:, index]
    return points


def _number(count: int) -> str:
    return {3: "three", 4: "four", 5: "five", 6: "six"}.get(count, str(count))
