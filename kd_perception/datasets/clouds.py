"""Point clouds of data sets as rows of nuScenes' five columns.

nuScenes' files have no head, so any other file would be read as points, too. What cannot be such rows is refused with
what it looks like instead. A sample_data row may declare other rows by two fields of our own: `columns`, the names of
the numbers of a point (KITTI has four), and `column_type`, float32 or float64. A .pcd and a .feather name their columns
themselves.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kd_perception.datasets.feather import MAGIC, feather_columns
from kd_perception.datasets.pcd import is_pcd, read_pcd
from kd_perception.errors import DataError

NUSCENES_COLUMNS = ("x", "y", "z", "intensity", "ring")  # metres in the LiDAR's frame, 0-255, number of the beam
KITTI_COLUMNS = ("x", "y", "z", "reflectance")  # reflectance is intensity from 0 to 1
ARGOVERSE_COLUMNS = ("x", "y", "z", "intensity", "laser_number")  # the beam, counted over two LiDARs
RINGS = {"laser_number": "ring"}  # other names of nuScenes' columns
FULL_INTENSITY = 255.0
COLUMN_TYPES = ("float32", "float64")
FARTHEST = 2000.0  # metres; no LiDAR of a vehicle measures further
_MOST_RINGS = 65535
_TOLD = 0.01  # share of points that may be nonsense: drivers mark lost returns in their own ways
_FOREIGN = {  # as long as needed: read as a coordinate, the first four bytes are none that a LiDAR measures
    rb"ply\r?\n": "a PLY file",
    rb"LASF": "a LAS or LAZ file",
    rb"\x93NUMPY": "a NumPy array (.npy)",
    rb"PK\x03\x04": "a NumPy archive (.npz) or another ZIP file",
    rb"\x1f\x8b\x08[\x00-\x1f]": "a gzip file",
    rb"version https://git-lfs": "a pointer of Git LFS (fetch the file itself)",
}
_TEXT = 200  # printable bytes at the beginning: no numbers look like that
_FEWEST = 20  # points from which their numbers say what a file is


def read_cloud(path: Path, columns: Sequence[str] = NUSCENES_COLUMNS, column_type: str = COLUMN_TYPES[0]) -> np.ndarray:
    """Points (N, 5) float32: NUSCENES_COLUMNS, zero where the file has no such column.

    Raises DataError if the file is absent, empty, cut, or something else than what is declared, and if what is declared
    has no x, y and z or another type.
    """
    if not {"x", "y", "z"} <= set(columns):
        raise DataError(
            f"the columns {', '.join(map(str, columns))} of point cloud {path} lack x, y or z; name them in the tables"
        )
    if column_type not in COLUMN_TYPES:
        raise DataError(
            f"the column_type of point cloud {path} is '{column_type}' in the tables; it is one of "
            f"{', '.join(COLUMN_TYPES)}"
        )
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"point cloud {path} is missing; restore it or choose a scene whose files are there") from error
    if not data:
        raise DataError(f"point cloud {path} is empty; restore it or choose scenes whose files are there")
    if is_pcd(data) or data.startswith(MAGIC):
        read = read_pcd if is_pcd(data) else feather_columns
        points = _as_nuscenes(read(data, f"point cloud {path}"), path)
        if fault := _fault(points):
            raise DataError(f"point cloud {path} holds no cloud in metres: {fault}; write it again")
        return points
    if what := _foreign(data):
        raise DataError(
            f"point cloud {path} is {what}; write it as .pcd, or as rows of {', '.join(columns)} in {column_type}"
        )
    return _read_rows(path, data, columns, column_type)


def _foreign(data: bytes) -> str:
    """What other kind of file it is, by its head; empty of rows of numbers."""
    if len(data) > _TEXT and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data[:_TEXT]):
        return "a text"
    return next((what for head, what in _FOREIGN.items() if re.match(head, data)), "")


def _read_rows(path: Path, data: bytes, columns: Sequence[str], column_type: str) -> np.ndarray:
    row = len(columns) * np.dtype(column_type).itemsize
    whole = len(data) // row
    numbers = np.frombuffer(data, column_type, whole * len(columns)).reshape(whole, len(columns))
    points = _as_nuscenes(dict(zip(columns, numbers.T, strict=True)), path)
    fault = _fault(points)
    declared = f"rows of {', '.join(columns)} in {column_type}"
    if fault and (looks := _looks_like(data)):
        raise DataError(
            f"point cloud {path} is not {declared} as expected ({fault}): it looks like {looks}; declare `columns` and "
            "`column_type` of its row in sample_data.json, or write the file again in metres"
        )
    if len(data) % row:
        raise DataError(
            f"point cloud {path} is truncated: {len(data)} bytes are not {declared} ({row} bytes each); restore the "
            "file"
        )
    if fault:
        raise DataError(f"point cloud {path} is not {declared} ({fault}); restore the file or write it again in metres")
    return points


def _as_nuscenes(found: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """NUSCENES_COLUMNS (N, 5) float32 from a file's columns by name."""
    lacking = [name for name in "xyz" if name not in found]
    if lacking:
        raise DataError(
            f"point cloud {path} has no column {lacking[0]}, only {', '.join(found)}; write it again with x, y and z "
            "in metres"
        )
    points = np.zeros((len(found["x"]), len(NUSCENES_COLUMNS)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # such values are told by `_fault`
        for given, values in found.items():
            name = RINGS.get(given, given)
            if name == "reflectance":
                points[:, 3] = values * FULL_INTENSITY
            elif name in NUSCENES_COLUMNS:
                points[:, NUSCENES_COLUMNS.index(name)] = values
    return points


def _fault(points: np.ndarray) -> str:
    """Why points cannot be a LiDAR's, in words; empty if they can."""
    measured = points[np.logical_and.reduce([np.isfinite(points[:, axis]) for axis in range(3)])]  # quick by columns
    if len(points) < _FEWEST:
        return ""
    if not len(measured):
        return "no point has coordinates"
    if not measured[:, :3].any():
        return "all coordinates are 0"
    far = np.maximum.reduce([np.abs(measured[:, axis]) for axis in range(3)])
    if np.mean(far > FARTHEST) > _TOLD:
        return f"{np.mean(far > FARTHEST):.0%} of the points are further away than {FARTHEST:g} m"
    ring = measured[:, 4]
    wrong = ~((ring == np.floor(ring)) & (ring >= 0) & (ring <= _MOST_RINGS))
    if np.mean(wrong) > _TOLD:
        return f"the ring of {np.mean(wrong):.0%} of the points is no whole number"
    return ""


def _looks_like(data: bytes) -> str:
    """Number and type of a file's columns, judged by its numbers; empty if they make no sense."""
    numbers = {kind: _sensible(data, kind) for kind in COLUMN_TYPES}
    shares = {kind: np.mean(found) if len(found) else 0.0 for kind, (_, found) in numbers.items()}
    kind = COLUMN_TYPES[1] if shares[COLUMN_TYPES[1]] > shares[COLUMN_TYPES[0]] else COLUMN_TYPES[0]
    values, sensible = numbers[kind]
    values = np.clip(np.nan_to_num(np.where(sensible, values, 0.0)), -FARTHEST, FARTHEST)
    if not values.any() or shares[kind] < 1.0 - _TOLD:
        return ""
    if len(values) < _FEWEST:
        return ""
    steps = {count: float(np.abs(values[count:] - values[:-count]).mean()) for count in range(3, 9)}
    count = next(count for count, step in steps.items() if step <= 1.2 * min(steps.values()))
    return f"{count} columns of {kind}"


def _sensible(data: bytes, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A file's numbers, and which of them could be a LiDAR's coordinates or intensities."""
    with np.errstate(invalid="ignore"):
        values = np.frombuffer(data, kind, len(data) // np.dtype(kind).itemsize).astype(np.float64)
    size = np.abs(values)
    return values, (values == 0) | np.isnan(values) | ((size > 1e-7) & (size < 1e5))
