"""A stand-in for `tf2_ros` where ROS 2's is not installed: the part of it that kd_perception.ros.tf uses.

Its behaviour follows the documentation of Buffer (https://docs.ros.org/en/rolling/p/tf2_ros_py/),
of tf2::BufferCore (https://docs.ros.org/en/rolling/p/tf2/), and REP-105. Two tests of test_tf2_standin.py hold it
against the real module where that can be imported: names with signatures, and lookups in random trees.
"""

import time as wall_time
from bisect import insort
from dataclasses import dataclass, field

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from std_srvs.srv import Trigger

from kd_perception.geometry.transforms import interpolate, invert, make_transform
from kd_perception.ros.geometry import from_quaternion
from kd_perception.ros.live import LIVE
from kd_perception.ros.stamps import to_nanoseconds

POLL_S = 0.02
LONGEST_CHAIN = 1000  # frames; a longer one is taken for a loop
LENGTH_TOLERANCE = 10e-3  # of a quaternion's squared length


class TransformException(Exception):
    """The base of all others."""


class LookupException(TransformException):
    """A frame is unknown, or frames form a loop."""


class ConnectivityException(TransformException):
    """Two frames are in separate trees."""


class ExtrapolationException(TransformException):
    """The time is outside what was received."""


class InvalidArgumentException(TransformException):
    """A frame's name is empty or begins with a slash."""


class TimeoutException(TransformException):
    """A server took too long."""


@dataclass(order=True)
class _Entry:
    """One transform, `parent_from_child` as a 4x4 matrix."""

    stamp_ns: int
    parent: str = field(compare=False)
    matrix: np.ndarray = field(compare=False)


@dataclass
class _Child:
    """What is known of a frame: its entries by rising stamps, of which a static frame has one for all times."""

    static: bool
    entries: list[_Entry] = field(default_factory=list)

    def at(self, stamp_ns: int) -> _Entry:
        if self.static:
            return self.entries[0]
        exact = [entry for entry in self.entries if entry.stamp_ns == stamp_ns]
        if exact:
            return exact[-1]  # of several with one stamp the last that came
        if len(self.entries) < 2:
            known = f"only time {self.entries[0].stamp_ns / 1e9:.6f} is" if self.entries else "nothing is"
            raise ExtrapolationException(f"time {stamp_ns / 1e9:.6f} needs extrapolation, but {known} in the buffer")
        first, last = self.entries[0].stamp_ns, self.entries[-1].stamp_ns
        if stamp_ns > last:
            raise ExtrapolationException(f"extrapolation into the future: {stamp_ns / 1e9:.6f} > {last / 1e9:.6f}")
        if stamp_ns < first:
            raise ExtrapolationException(f"extrapolation into the past: {stamp_ns / 1e9:.6f} < {first / 1e9:.6f}")
        after = next(i for i, entry in enumerate(self.entries) if entry.stamp_ns > stamp_ns)
        one, two = self.entries[after - 1], self.entries[after]
        if one.parent != two.parent:
            return one
        fraction = (stamp_ns - one.stamp_ns) / (two.stamp_ns - one.stamp_ns)
        return _Entry(stamp_ns, one.parent, interpolate(one.matrix, two.matrix, fraction))


class Buffer:
    """Transforms of the last `cache_time` (default 10 s) before each frame's newest."""

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._history_ns = (Duration(seconds=10.0) if cache_time is None else cache_time).nanoseconds
        self._children: dict[str, _Child] = {}
        self._names: set[str] = set()
        if node is not None:  # tf2_msgs/srv/FrameGraph in the real one
            self.srv = node.create_service(Trigger, "tf2_frames", lambda request, response: response)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add one; what cannot be used is logged and left aside."""
        self._add(transform, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Add one that holds at any time."""
        self._add(transform, static=True)

    def clear(self) -> None:
        """Forget all but static transforms; the frames' names stay known."""
        for child in self._children.values():
            if not child.static:
                child.entries.clear()

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration = Duration(),  # noqa: B008 - as the real one
    ) -> bool:
        """Whether a lookup would succeed, or does within the timeout."""
        deadline = wall_time.monotonic() + timeout.nanoseconds / 1e9
        while True:
            try:
                self._lookup(target_frame, source_frame, time.nanoseconds)
            except TransformException:
                if wall_time.monotonic() >= deadline:
                    return False
                wall_time.sleep(POLL_S)
            else:
                return True

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration = Duration(),  # noqa: B008 - as the real one
    ) -> TransformStamped:
        """The transform that takes points of `source_frame` to `target_frame`; time 0 is the newest common one."""
        if timeout.nanoseconds:
            self.can_transform(target_frame, source_frame, time, timeout)
        matrix, stamp_ns = self._lookup(target_frame, source_frame, time.nanoseconds)
        return LIVE.transform(target_frame, source_frame, stamp_ns, matrix)

    def _add(self, transform: TransformStamped, *, static: bool) -> None:
        parent, child = transform.header.frame_id.removeprefix("/"), transform.child_frame_id.removeprefix("/")
        q, t = from_quaternion(transform.transform.rotation), transform.transform.translation
        if not parent or not child or parent == child or np.isnan([*q, t.x, t.y, t.z]).any():
            return
        if abs(q @ q - 1.0) >= LENGTH_TOLERANCE:
            return
        known = self._children.get(child)
        if known is None or known.static != static:
            known = self._children[child] = _Child(static)
        self._names |= {parent, child}
        entry = _Entry(to_nanoseconds(transform.header.stamp), parent, make_transform(q, [t.x, t.y, t.z]))
        if static:
            known.entries[:] = [entry]
            return
        oldest = max((old.stamp_ns for old in known.entries), default=0) - self._history_ns
        known.entries[:] = [old for old in known.entries if old.stamp_ns >= oldest]  # before the new one comes
        if not known.entries or entry.stamp_ns >= oldest:
            insort(known.entries, entry)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> tuple[np.ndarray, int]:
        """`target_from_source`, and the time it belongs to."""
        if target == source:
            return np.eye(4), stamp_ns
        for role, frame in (("target_frame", target), ("source_frame", source)):
            if not frame or frame.startswith("/"):
                raise InvalidArgumentException(f'"{frame}" as {role}: empty, or with a slash in front')
            if frame not in self._names:
                raise LookupException(f'"{frame}" as {role} does not exist')
        if stamp_ns == 0:
            stamp_ns = self._newest_common(target, source)
        up_source = self._climb(source, target, stamp_ns)
        if target in up_source.seen:
            return up_source.seen[target], stamp_ns
        up_target = self._climb(target, source, stamp_ns)
        common = next((frame for frame in up_source.seen if frame in up_target.seen), None)
        if common is None:
            raise up_source.failure or up_target.failure or _separate(target, source)
        return invert(up_target.seen[common]) @ up_source.seen[common], stamp_ns

    def _climb(self, start: str, goal: str, stamp_ns: int) -> "_Climb":
        """From a frame to its root, to `goal`, or to where the time is unknown."""
        climb, frame = _Climb({start: np.eye(4)}), start
        while frame != goal and frame in self._children:
            try:
                entry = self._children[frame].at(stamp_ns)
            except ExtrapolationException as error:
                climb.failure = ExtrapolationException(f"{error}, of frame [{frame}]")
                break
            if entry.parent in climb.seen or len(climb.seen) > LONGEST_CHAIN:
                raise LookupException("the tf tree is invalid because it contains a loop")
            climb.seen[entry.parent] = entry.matrix @ climb.seen[frame]
            frame = entry.parent
        return climb

    def _newest_common(self, target: str, source: str) -> int:
        """The newest time at which every dynamic frame between the two is known; 0 where all are static."""
        ups = []
        for frame in (source, target):
            up = [frame]
            while up[-1] in self._children and self._children[up[-1]].entries and len(up) <= LONGEST_CHAIN:
                up.append(self._children[up[-1]].entries[-1].parent)
            ups.append(up)
        common = next((frame for frame in ups[0] if frame in ups[1]), None)
        if common is None:
            raise _separate(target, source)
        between = [self._children[frame] for up in ups for frame in up[: up.index(common)]]
        return min((child.entries[-1].stamp_ns for child in between if not child.static), default=0)


@dataclass
class _Climb:
    """Frames from one upwards with `frame_from_start`, and why it ended early."""

    seen: dict[str, np.ndarray]
    failure: TransformException | None = None


def _separate(target: str, source: str) -> ConnectivityException:
    return ConnectivityException(f"'{target}' and '{source}' are not part of the same tree")
