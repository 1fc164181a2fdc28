"""ROS messages for bags, built with rosbags' type store, so that a bag can be written where no ROS is installed.

Conversions at this edge: quaternions (w, x, y, z) -> (x, y, z, w); K with pixel centres at .5 -> CameraInfo's integers
(REP-104).
"""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from kd_perception.drawing.cameras import CLASS_COLORS
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import CLASSES, Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import quaternion_from_yaw, quaternion_of

Message = Any  # an instance of a class that the type store makes at run time
POINT_DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2")])
_POINT_FIELD_TYPES = {"<f4": 7, "<u2": 4}  # sensor_msgs/PointField FLOAT32, UINT16


@cache
def typestore() -> Typestore:
    """ROS 2's own message types and kd_msgs; raises DataError where the kd_msgs definitions cannot be found."""
    store = get_typestore(Stores.ROS2_KILTED)
    for path in sorted(kd_msgs_folder().glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"kd_msgs/msg/{path.stem}"))
    return store


def kd_msgs_folder() -> Path:
    """Folder of the kd_msgs .msg files: next to the package in a checkout, or in a sourced ROS prefix."""
    checkout = Path(__file__).resolve().parents[2] / "kd_msgs" / "msg"
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for folder in (checkout, *(prefix / "share" / "kd_msgs" / "msg" for prefix in prefixes)):
        if (folder / "Sample.msg").is_file():
            return folder
    raise DataError(
        "the kd_msgs message definitions are neither next to the package nor in AMENT_PREFIX_PATH; "
        "source the workspace's setup file"
    )


def make(type_name: str, **fields: Any) -> Message:  # noqa: ANN401 - as many types as messages have fields
    """A message of `type_name` ('std_msgs/msg/Header'); every field must be given."""
    return typestore().types[type_name](**fields)


def header(stamp_ns: int, frame: str) -> Message:
    """std_msgs/Header at a time in nanoseconds."""
    stamp = make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def compressed_image(stamp_ns: int, frame: str, data: bytes, encoding: str) -> Message:
    """sensor_msgs/CompressedImage around a file's bytes as they are; `encoding` is 'jpeg' or 'png'."""
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=header(stamp_ns, frame),
        format=encoding,
        data=np.frombuffer(data, np.uint8),
    )


def camera_info(stamp_ns: int, camera: Camera) -> Message:
    """sensor_msgs/CameraInfo of a camera; an ideal lens is plumb_bob with five zeros, as drivers publish it."""
    k = camera.integer_centred_intrinsics()
    distortion_model, distortion = camera.info_distortion()
    roi = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp_ns, camera.name),
        height=camera.height,
        width=camera.width,
        distortion_model=distortion_model,
        d=np.array(distortion),
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.column_stack([k, np.zeros(3)]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def point_cloud(stamp_ns: int, frame: str, points: np.ndarray) -> Message:
    """sensor_msgs/PointCloud2 of points (N, 5) x, y, z, intensity, ring in `frame`."""
    rows = np.empty(len(points), POINT_DTYPE)
    for column, name in enumerate(POINT_DTYPE.names):
        rows[name] = points[:, column]
    fields = [
        make("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=_POINT_FIELD_TYPES[kind.str], count=1)
        for name, (kind, offset) in POINT_DTYPE.fields.items()
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=header(stamp_ns, frame),
        height=1,
        width=len(rows),
        fields=fields,
        is_bigendian=False,
        point_step=POINT_DTYPE.itemsize,
        row_step=rows.nbytes,
        data=rows.view(np.uint8),
        is_dense=bool(np.isfinite(points[:, :3]).all()),
    )


def tf(stamp_ns: int, transforms: Sequence[tuple[str, str, np.ndarray]]) -> Message:
    """tf2_msgs/TFMessage of (parent, child, parent_from_child (4, 4)) at one time."""
    stamped = [
        make(
            "geometry_msgs/msg/TransformStamped",
            header=header(stamp_ns, parent),
            child_frame_id=child,
            transform=make(
                "geometry_msgs/msg/Transform",
                translation=_vector("Vector3", matrix[:3, 3]),
                rotation=_quaternion(quaternion_of(matrix)),
            ),
        )
        for parent, child, matrix in transforms
    ]
    return make("tf2_msgs/msg/TFMessage", transforms=stamped)


def odometry(stamp_ns: int, odom_from_base: np.ndarray, linear: np.ndarray, angular: np.ndarray) -> Message:
    """nav_msgs/Odometry: pose (4, 4) of base_link in odom; linear (m/s) and angular (rad/s) velocity in base_link."""
    twist = make("geometry_msgs/msg/Twist", linear=_vector("Vector3", linear), angular=_vector("Vector3", angular))
    return make(
        "nav_msgs/msg/Odometry",
        header=header(stamp_ns, "odom"),
        child_frame_id="base_link",
        pose=make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=_pose(odom_from_base[:3, 3], quaternion_of(odom_from_base)),
            covariance=np.zeros(36),
        ),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


def sample(stamp_ns: int, scene: str, sample_token: str) -> Message:
    """kd_msgs/Sample: the frame whose anchor image has this stamp is a keyframe of a data set."""
    return make("kd_msgs/msg/Sample", header=header(stamp_ns, "base_link"), scene=scene, sample_token=sample_token)


def box_markers(stamp_ns: int, boxes: Boxes, namespace: str) -> Message:
    """visualization_msgs/MarkerArray in base_link: clear the namespace, then a cube in its class's colour a box."""
    clear = _marker(
        stamp_ns,
        namespace,
        0,
        action=3,
        pose=_pose(np.zeros(3), quaternion_from_yaw(0.0)),
        size=np.ones(3),
        color=(0.0,) * 4,
    )
    cubes = [
        _marker(
            stamp_ns,
            namespace,
            i,
            action=0,
            pose=_pose(boxes.center[i], quaternion_from_yaw(boxes.yaw[i])),
            size=boxes.size[i],
            color=(*(channel / 255.0 for channel in CLASS_COLORS[CLASSES[boxes.label[i]]]), 0.35),
        )
        for i in range(len(boxes))
    ]
    return make("visualization_msgs/msg/MarkerArray", markers=[clear, *cubes])


def _marker(
    stamp_ns: int, namespace: str, index: int, action: int, pose: Message, size: np.ndarray, color: Sequence[float]
) -> Message:
    colour = dict(zip("rgba", color, strict=True))
    return make(
        "visualization_msgs/msg/Marker",
        header=header(stamp_ns, "base_link"),
        ns=namespace,
        id=index,
        type=1,
        action=action,
        pose=pose,
        scale=_vector("Vector3", size),
        color=make("std_msgs/msg/ColorRGBA", **colour),
        lifetime=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
        frame_locked=False,
        points=[],
        colors=[],
        texture_resource="",
        texture=compressed_image(0, "", b"", ""),
        uv_coordinates=[],
        text="",
        mesh_resource="",
        mesh_file=make("visualization_msgs/msg/MeshFile", filename="", data=np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False,
    )


def _pose(position: np.ndarray, quaternion_wxyz: np.ndarray) -> Message:
    return make("geometry_msgs/msg/Pose", position=_vector("Point", position), orientation=_quaternion(quaternion_wxyz))


def _vector(kind: str, xyz: np.ndarray) -> Message:
    x, y, z = (float(value) for value in xyz)
    return make(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _quaternion(wxyz: np.ndarray) -> Message:
    w, x, y, z = (float(value) for value in wxyz)
    return make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
