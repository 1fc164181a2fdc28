"""Odometry of the robot: its poses in odom at any time, and when REP-105's promise of a continuous frame breaks.

Poses come from tf (odom <- base_link) or, where nobody publishes that, from the odometry topic itself.
"""

import numpy as np
from nav_msgs.msg import Odometry

from kd_perception.errors import CalibrationError, KdError
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.geometry import from_pose
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf import TransformSource
from kd_perception.ros.tf_buffer import TransformBuffer

JUMP_METRES = 2.0  # further than the reported speed explains
HISTORY_S = 10.0


class OdometryWatch:
    """Finds jumps of position that the reported velocity does not explain."""

    def __init__(self) -> None:
        self._last: tuple[int, np.ndarray, float] | None = None

    def add(self, stamp_ns: int, position: np.ndarray, speed: float) -> str:
        """Take a position (3,) in metres in odom and a speed in m/s; returns '' or why the past is void."""
        last, self._last = self._last, (stamp_ns, np.asarray(position, dtype=np.float64), abs(speed))
        if last is None:
            return ""
        elapsed = (stamp_ns - last[0]) / 1e9
        if elapsed < 0:
            return f"odometry went back by {-elapsed:.3f} s"
        moved = float(np.linalg.norm(self._last[1] - last[1]))
        explained = max(last[2], abs(speed)) * elapsed
        if not moved <= explained + JUMP_METRES:  # also when a value is not finite
            return f"odometry jumped {moved:.1f} m within {elapsed:.3f} s, where its speed explains {explained:.1f} m"
        return ""


def take_odometry(message: Odometry, watch: OdometryWatch, poses: "PoseSource") -> tuple[str, str]:
    """Hand a message to both; returns two sentences, empty as a rule: why the past is void, and why the message was
    refused."""
    stamp_ns = to_nanoseconds(message.header.stamp)
    position, linear = message.pose.pose.position, message.twist.twist.linear
    speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
    reason = watch.add(stamp_ns, np.array([position.x, position.y, position.z]), speed)
    frames = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
    try:
        poses.add(stamp_ns, *frames, from_pose(message.pose.pose))
    except KdError as error:
        return reason, f"odometry was refused: {error}"
    return reason, ""


class PoseSource:
    """`odom_from_base` at a time, from tf or else from the odometry topic. Thread-safe.

    Odometry of another frame of the robot (REP-120's base_footprint) is composed with that frame's link to the base.
    """

    def __init__(self, transforms: TransformSource, odometry_frame: str, base_frame: str) -> None:
        self._transforms = transforms
        self._frames = odometry_frame, base_frame
        self._topic = TransformBuffer(HISTORY_S)
        self._child = ""  # frame of the robot that the newest message places in the odometry frame
        self._foreign: tuple[str, str] | None = None  # frames of the newest message that is in another frame

    def add(self, stamp_ns: int, parent: str, child: str, pose: np.ndarray) -> None:
        """Take a message of the odometry topic: the pose (4, 4) of frame `child` in `parent`.

        An empty `child` is the base frame. Raises TransformError if the pose is not finite; a message of another parent
        than the odometry frame is only remembered for the sentence of a lookup that fails.
        """
        odometry_frame, base_frame = self._frames
        if parent != odometry_frame:
            self._foreign = parent, child
            return
        child = child or base_frame
        self._topic.set_transform(parent, child, stamp_ns, pose)
        self._child = child

    def lookup(self, stamp_ns: int) -> np.ndarray:
        """`odom_from_base` (4, 4); raises TransformError where neither knows it (yet)."""
        try:
            return self._transforms.lookup(*self._frames, stamp_ns)
        except CalibrationError as error:
            odometry_frame, base_frame = self._frames
            child = self._child
            if not child:
                raise TransformError(f"{error}{self._came()}") from None
            try:
                pose = self._topic.lookup(odometry_frame, child, stamp_ns)
            except TransformError:
                raise error from None
            return pose if child == base_frame else pose @ self._link(child, stamp_ns)

    def _link(self, child: str, stamp_ns: int) -> np.ndarray:
        """`child_from_base` (4, 4) by tf."""
        odometry_frame, base_frame = self._frames
        try:
            return self._transforms.lookup(child, base_frame, stamp_ns)
        except CalibrationError as error:
            raise TransformError(
                f"odometry gives '{child}' in '{odometry_frame}', but '{base_frame}' is wanted, and tf does not link "
                f"them: {error}"
            ) from error

    def _came(self) -> str:
        """What the odometry topic has given instead, as the rest of a sentence."""
        if self._foreign is None:
            return ""
        parent, child = (f"'{frame}'" if frame else "an unnamed frame" for frame in self._foreign)
        odometry_frame, base_frame = self._frames
        return (
            f"; odometry gives {child} in {parent}, but '{base_frame}' in '{odometry_frame}' is wanted: set "
            "odometry_frame, or the driver's frames"
        )

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the poses of later times, as when the clock has gone back there."""
        self._transforms.forget_after(stamp_ns)
        self._topic.forget_after(stamp_ns)
