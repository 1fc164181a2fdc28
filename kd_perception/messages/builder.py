"""Builds messages from this project's plain types; where they go decides which classes they are of.

Conversions at this edge: quaternions (w, x, y, z) -> (x, y, z, w); K with pixel centres at .5 -> CameraInfo's integers
(REP-104); nanoseconds -> seconds and nanoseconds.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import quaternion_of

Message = Any  # an instance of a class that one of the type systems makes
NANOSECONDS = 1_000_000_000


class Make(Protocol):
    """Makes a message of a type system."""

    def __call__(self, type_name: str, **fields: object) -> Message:
        """The message of `type_name` ('std_msgs/msg/Header'); fields that are not given have the type's default."""


class MessageBuilder:
    """Messages of one type system; `make` is the only thing in which live messages and those of bags differ."""

    def __init__(self, make: Make) -> None:
        self.make = make

    def time(self, stamp_ns: int) -> Message:
        """builtin_interfaces/Time of nanoseconds; raises ValueError outside the message's 32-bit seconds."""
        seconds, nanoseconds = divmod(int(stamp_ns), NANOSECONDS)
        if not -(2**31) <= seconds < 2**31:
            raise ValueError(f"{stamp_ns} ns is outside builtin_interfaces/Time; stamps are nanoseconds since 1970")
        return self.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)

    def header(self, stamp_ns: int, frame_id: str) -> Message:
        """std_msgs/Header at a time in nanoseconds."""
        return self.make("std_msgs/msg/Header", stamp=self.time(stamp_ns), frame_id=frame_id)

    def point(self, xyz: Sequence[float] | np.ndarray) -> Message:
        """geometry_msgs/Point."""
        x, y, z = map(float, xyz)
        return self.make("geometry_msgs/msg/Point", x=x, y=y, z=z)

    def vector(self, xyz: Sequence[float] | np.ndarray) -> Message:
        """geometry_msgs/Vector3."""
        x, y, z = map(float, xyz)
        return self.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)

    def quaternion(self, wxyz: Sequence[float] | np.ndarray) -> Message:
        """geometry_msgs/Quaternion of (w, x, y, z)."""
        w, x, y, z = map(float, wxyz)
        return self.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def pose(self, position: Sequence[float] | np.ndarray, wxyz: Sequence[float] | np.ndarray) -> Message:
        """geometry_msgs/Pose of a position in metres and a quaternion (w, x, y, z)."""
        return self.make("geometry_msgs/msg/Pose", position=self.point(position), orientation=self.quaternion(wxyz))

    def transform(self, parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray) -> Message:
        """geometry_msgs/TransformStamped; tf calls `parent_from_child` (4, 4) the transform of child in parent."""
        moved = self.make(
            "geometry_msgs/msg/Transform",
            translation=self.vector(parent_from_child[:3, 3]),
            rotation=self.quaternion(quaternion_of(parent_from_child)),
        )
        head = self.header(stamp_ns, parent)
        return self.make("geometry_msgs/msg/TransformStamped", header=head, child_frame_id=child, transform=moved)

    def camera_info(self, camera: Camera, frame_id: str, stamp_ns: int = 0) -> Message:
        """sensor_msgs/CameraInfo of a camera; its mounting travels over tf. An ideal lens is plumb_bob with zeros."""
        k = camera.integer_centred_intrinsics()
        distortion_model, distortion = camera.info_distortion()
        return self.make(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(stamp_ns, frame_id),
            height=camera.height,
            width=camera.width,
            distortion_model=distortion_model,
            d=np.array(distortion, np.float64),
            k=k.ravel(),
            r=np.eye(3).ravel(),
            p=np.column_stack([k, np.zeros(3)]).ravel(),
        )

    def compressed_image(self, stamp_ns: int, frame_id: str, data: bytes, encoding: str) -> Message:
        """sensor_msgs/CompressedImage around a file's bytes as they are; `encoding` is 'jpeg' or 'png'."""
        head, pixels = self.header(stamp_ns, frame_id), np.frombuffer(data, np.uint8)
        return self.make("sensor_msgs/msg/CompressedImage", header=head, format=encoding, data=pixels)
