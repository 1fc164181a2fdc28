"""PointCloud2 messages of every kind, from points of a LiDAR that is mounted on a robot."""

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw
from kd_perception.ros.stamps import to_time

MOUNTING = make_transform(quaternion_from_yaw(-0.7), np.array([0.9, 0.1, 1.8]))
TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
XYZI = (("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4"))


def message(points: np.ndarray, stamp_ns: int, fields=XYZI, *, big: bool = False, pad: int = 0) -> PointCloud2:
    """A cloud of points (P, 4) in the LiDAR's frame, its intensities scaled as they come."""
    order = ">" if big else "<"
    dtype = np.dtype([(name, order + kind) for name, kind in fields] + [("pad", f"V{pad}")] * (pad > 0))
    rows = np.zeros(len(points), dtype)
    columns = dict(zip(("x", "y", "z", "intensity"), points.T, strict=True)) | {"reflectivity": points[:, 3]}
    for name, _ in fields:
        rows[name] = columns.get(name, 0)
    cloud = PointCloud2(
        height=1, width=len(points), is_bigendian=big, point_step=dtype.itemsize, row_step=rows.nbytes,
        data=rows.tobytes(),
    )  # fmt: skip
    cloud.header.stamp, cloud.header.frame_id = to_time(stamp_ns), "lidar"
    kinds = {name: dtype.fields[name] for name, _ in fields}
    cloud.fields = [
        PointField(name=name, offset=offset, datatype=TYPES[kind.str[1:]], count=1)
        for name, (kind, offset) in kinds.items()
    ]
    return cloud


def in_lidar(in_base: np.ndarray, brightest: float = 255.0) -> np.ndarray:
    """Points (P, 4) of base_link as the LiDAR measures them, with intensities up to `brightest`."""
    points = in_base.copy()
    points[:, :3] = apply(invert(MOUNTING), in_base[:, :3])
    points[:, 3] = np.floor(in_base[:, 3] * brightest) if brightest > 1.0 else in_base[:, 3] * brightest
    return points
