"""Messages for bags, of rosbags' type store, so that a bag can be written where no ROS is installed.

`BAG` builds what live topics have, too; what only bags have is a function here.
"""

import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from kd_perception.errors import DataError
from kd_perception.geometry.transforms import quaternion_of
from kd_perception.messages.builder import Message, MessageBuilder

POINT_DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2")])
_POINT_FIELD_TYPES = {"<f4": 7, "<u2": 4}  # sensor_msgs/PointField FLOAT32, UINT16
STANDARD_DETECTIONS = {  # what `messages.detections` builds of other packages, each after the types of its fields
    "vision_msgs": (
        "ObjectHypothesis", "ObjectHypothesisWithPose", "BoundingBox3D", "Detection3D", "Detection3DArray",
    ),
    "autoware_perception_msgs": (
        "ObjectClassification", "Shape", "DetectedObjectKinematics", "DetectedObject", "DetectedObjects",
    ),
}  # fmt: skip


@cache
def typestore() -> Typestore:
    """ROS 2's own message types, kd_msgs and, where they are installed, STANDARD_DETECTIONS.

    Raises DataError where the kd_msgs definitions cannot be found.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    for path in sorted(kd_msgs_folder().glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"kd_msgs/msg/{path.stem}"))
    for package, names in STANDARD_DETECTIONS.items():
        folder = next((folder for folder in _prefix_folders(package) if (folder / f"{names[-1]}.msg").is_file()), None)
        for name in names if folder is not None else ():
            store.register(get_types_from_msg((folder / f"{name}.msg").read_text(), f"{package}/msg/{name}"))
    return store


def kd_msgs_folder() -> Path:
    """Folder of the kd_msgs .msg files: next to the package in a checkout, or in a sourced ROS prefix."""
    checkout = Path(__file__).resolve().parents[2] / "kd_msgs" / "msg"
    for folder in (checkout, *_prefix_folders("kd_msgs")):
        if (folder / "Sample.msg").is_file():
            return folder
    raise DataError(
        "the kd_msgs message definitions are neither next to the package nor in AMENT_PREFIX_PATH; "
        "source the workspace's setup file"
    )


def _prefix_folders(package: str) -> list[Path]:
    """Where the sourced ROS prefixes, and the one that this Python belongs to, have the definitions of a package."""
    sourced = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    return [Path(prefix) / "share" / package / "msg" for prefix in (*sourced, sys.prefix)]


def make(type_name: str, **fields: object) -> Message:
    """A message of rosbags' type store; fields that are not given are zero, empty or false.

    Raises DataError for a type whose definition is not installed.
    """
    store = typestore()
    if type_name not in store.types:
        raise DataError(f"message type '{type_name}' is not installed; install {type_name.partition('/')[0]}")
    return store.types[type_name](**_defaults(type_name, frozenset(fields)), **fields)


def _defaults(type_name: str, given: frozenset[str]) -> dict[str, object]:
    return {name: _default(kind) for name, kind in typestore().fielddefs[type_name][1] if name not in given}


def _default(kind: tuple) -> object:
    """The zero of one field, as rosbags describes it: (node type, details)."""
    node, detail = kind
    if node == Nodetype.NAME:
        return make(detail)
    if node == Nodetype.BASE:
        return {"string": "", "bool": False}.get(detail[0], 0.0 if detail[0].startswith("float") else 0)
    element, count = detail
    if element[0] == Nodetype.BASE and element[1][0] != "string":
        return np.zeros(count, element[1][0])
    return [_default(element) for _ in range(count)]


BAG = MessageBuilder(make)


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
        header=BAG.header(stamp_ns, frame),
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
    stamped = [BAG.transform(parent, child, stamp_ns, matrix) for parent, child, matrix in transforms]
    return make("tf2_msgs/msg/TFMessage", transforms=stamped)


def odometry(stamp_ns: int, odom_from_base: np.ndarray, linear: np.ndarray, angular: np.ndarray) -> Message:
    """nav_msgs/Odometry: pose (4, 4) of base_link in odom; linear (m/s) and angular (rad/s) velocity in base_link."""
    twist = make("geometry_msgs/msg/Twist", linear=BAG.vector(linear), angular=BAG.vector(angular))
    pose = BAG.pose(odom_from_base[:3, 3], quaternion_of(odom_from_base))
    return make(
        "nav_msgs/msg/Odometry",
        header=BAG.header(stamp_ns, "odom"),
        child_frame_id="base_link",
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist),
    )


def sample(stamp_ns: int, scene: str, sample_token: str) -> Message:
    """kd_msgs/Sample: the frame whose anchor image has this stamp is a keyframe of a data set."""
    return make("kd_msgs/msg/Sample", header=BAG.header(stamp_ns, "base_link"), scene=scene, sample_token=sample_token)
