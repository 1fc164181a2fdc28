"""sensor_msgs/PointCloud2 -> NumPy: any field types, strides, row padding and byte order.

Where sensor_msgs_py is installed it reads the clouds that it reads well; else a converter of the same behaviour.
"""

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from kd_perception.errors import DataError

_TYPES = {
    PointField.INT8: "i1", PointField.UINT8: "u1", PointField.INT16: "i2", PointField.UINT16: "u2",
    PointField.INT32: "i4", PointField.UINT32: "u4", PointField.FLOAT32: "f4", PointField.FLOAT64: "f8",
}  # fmt: skip


def from_cloud(message: PointCloud2) -> np.ndarray:
    """Structured array (width * height,) with the message's fields; raises DataError if fields and data do not fit."""
    check_cloud(message)
    # sensor_msgs_py ignores padded rows, and swaps the bytes of big-endian clouds inside the message itself.
    ours = message.is_bigendian or message.row_step != message.point_step * message.width
    try:
        from sensor_msgs_py import point_cloud2
    except ImportError:
        return from_cloud_numpy(message)
    return from_cloud_numpy(message) if ours else point_cloud2.read_points(message)


def from_cloud_numpy(message: PointCloud2) -> np.ndarray:
    """The same by NumPy alone, in native byte order."""
    dtype = check_cloud(message)
    strides = (message.row_step, message.point_step)
    points = np.ndarray(
        (message.height, message.width), dtype, buffer=memoryview(message.data), strides=strides
    ).reshape(-1)
    return points.astype(dtype.newbyteorder("=")) if message.is_bigendian else points


def finite_xyz(message: PointCloud2) -> np.ndarray:
    """Points (N, 3) float32 with x, y, z all finite; raises DataError if the cloud is broken or lacks these fields."""
    return finite_points(message)[0]


def finite_points(message: PointCloud2, optional: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Points (N, C) float32 with x, y, z all finite, and the names of their columns: x, y, z and those of the optional
    fields that the cloud has. Raises as `finite_xyz`."""
    points = from_cloud(message)
    has = points.dtype.names or ()
    missing = [name for name in "xyz" if name not in has]
    if missing:
        raise DataError(
            f"cloud in frame '{message.header.frame_id}' has no field {', '.join(missing)}; it has {', '.join(has)}"
        )
    columns = ("x", "y", "z", *(name for name in optional if name in has))
    several = [name for name in columns if points.dtype[name].shape]
    if several:
        raise DataError(
            f"cloud in frame '{message.header.frame_id}' has several values of {', '.join(several)} in each point; "
            "publish it with one (PointField.count 1)"
        )
    rows = np.stack([points[name].astype(np.float32) for name in columns], axis=1)
    return rows[np.logical_and.reduce([np.isfinite(rows[:, axis]) for axis in range(3)])], columns


def check_cloud(message: PointCloud2) -> np.dtype:
    """The dtype of one point in the message's byte order; raises DataError if the message contradicts itself."""
    where = f"cloud in frame '{message.header.frame_id}'"
    unknown = [f"{field.name} ({field.datatype})" for field in message.fields if field.datatype not in _TYPES]
    if unknown or not message.fields:
        raise DataError(
            f"{where} has fields of unknown type: {', '.join(unknown) or 'no fields at all'}; check its publisher"
        )
    order = ">" if message.is_bigendian else "<"
    names, formats, offsets = [], [], []
    for field in message.fields:
        base = np.dtype(order + _TYPES[field.datatype])
        names.append(field.name)
        formats.append(base if field.count <= 1 else (base, (field.count,)))
        offsets.append(field.offset)
    try:
        dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": message.point_step})
    except ValueError as error:
        raise DataError(
            f"{where} has fields that do not fit points of {message.point_step} bytes ({error}); check its publisher"
        ) from error
    needed = (
        message.row_step * (message.height - 1) + message.point_step * message.width
        if message.height and message.width
        else 0
    )
    if message.row_step < message.point_step * message.width and message.height > 1 or len(message.data) < needed:
        raise DataError(
            f"{where} is short: {message.width}x{message.height} points of {message.point_step} bytes "
            f"in rows of {message.row_step} need {needed} bytes, it has {len(message.data)}; check its publisher"
        )
    return dtype
