"""Transforms from /tf and /tf_static: tf2_ros where installed, else this project's buffer, behind one interface.

Both refuse and report the same: values that are not finite, quaternions that are no rotation, cycles.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kd_perception.errors import DataError
from kd_perception.ros.frame_tree import FrameTree, TransformError
from kd_perception.ros.geometry import from_quaternion, from_transform
from kd_perception.ros.qos import TF, TF_STATIC
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf_buffer import TransformBuffer, check_finite, check_not_after
from kd_perception.topics import TF_STATIC_TOPIC, TF_TOPIC

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node
    from tf2_msgs.msg import TFMessage

LENGTH_TOLERANCE = 10e-3  # of a quaternion's squared length, as tf2 has it

AUTHORITY = "tf"  # who sent a transform; tf2 asks for it and only prints it


class TransformSource(Protocol):
    """Where a node asks for transforms."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """`target_from_source` (4, 4) at a time; raises TransformError with a sentence."""

    def forget_after(self, stamp_ns: int) -> None:
        """Forget at least what is known of later times."""

    def close(self) -> None:
        """Stop listening."""


def open_transforms(node: "Node", on_problem: Callable[[str], None], history_s: float = 10.0) -> TransformSource:
    """Listen to tf on `node`; `on_problem` gets a sentence for every transform that had to be refused."""
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        return OwnTransforms(node, on_problem, history_s)
    return Tf2Transforms(node, on_problem, history_s)


class _Listening(ABC):
    """Two subscriptions to tf, relative to the node's namespace, where tf2's own listener has absolute names."""

    def __init__(self, node: "Node") -> None:
        from tf2_msgs.msg import TFMessage

        self._node = node
        topics = ((TF_TOPIC, TF, False), (TF_STATIC_TOPIC, TF_STATIC, True))
        self._subscriptions = [
            node.create_subscription(TFMessage, topic, partial(self._receive, static=static), qos)
            for topic, qos, static in topics
        ]

    def close(self) -> None:
        """See TransformSource."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    @abstractmethod
    def _receive(self, message: "TFMessage", *, static: bool) -> None:
        """Take a message of either topic."""


class OwnTransforms(_Listening):
    """A TransformBuffer fed by two subscriptions."""

    def __init__(self, node: "Node", on_problem: Callable[[str], None], history_s: float) -> None:
        self._on_problem = on_problem
        self._buffer = TransformBuffer(history_s)
        super().__init__(node)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """See TransformSource."""
        return self._buffer.lookup(target, source, stamp_ns)

    def forget_after(self, stamp_ns: int) -> None:
        """See TransformSource."""
        self._buffer.forget_after(stamp_ns)

    def _receive(self, message: "TFMessage", *, static: bool) -> None:
        def add(link: _Link) -> None:
            self._buffer.set_transform(link.parent, link.child, link.stamp_ns, link.matrix, static=static)

        for entry in message.transforms:
            _take(entry, add, self._on_problem)


class Tf2Transforms(_Listening):
    """tf2_ros behind the same interface: it keeps and interpolates transforms.

    What it would only log, or not notice, is dealt with before: cycles, unknown frames, a frame that moves to another
    parent, and stamps from before the history, as when a bag loops.
    """

    def __init__(self, node: "Node", on_problem: Callable[[str], None], history_s: float) -> None:
        import tf2_ros
        from rclpy.duration import Duration

        # Without the node: a buffer that has it leaves its service tf2_frames and its clock callback behind on it.
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=history_s))
        self._history_ns = int(history_s * 1e9)
        self._on_problem = on_problem
        self._tree = FrameTree()
        self._newest_ns: dict[str, int] = {}  # stamp by child, of those that move
        self._lock = threading.Lock()
        super().__init__(node)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """See TransformSource."""
        import tf2_ros
        from rclpy.time import Time

        time = Time(nanoseconds=max(stamp_ns, 1))  # 0 is no time to tf2 but means "the newest", and it has no earlier
        with self._lock:
            between = self._tree.ways(target, source)  # says which frame is unknown, or that there is no link
            try:
                return from_transform(self._buffer.lookup_transform(target, source, time).transform)
            except tf2_ros.TransformException as error:
                for child in (*between[0], *between[1]):
                    check_not_after(self._tree.link(child), stamp_ns, self._newest_ns.get(child, stamp_ns))
                raise TransformError(
                    f"tf {target} <- {source} is not known at {stamp_ns / 1e9:.3f} s: {str(error).rstrip('.')}; check "
                    "that it is published in time"
                ) from error

    def forget_after(self, stamp_ns: int) -> None:
        """See TransformSource; tf2 can only forget everything but static transforms."""
        with self._lock:
            self._buffer.clear()
            for child in self._newest_ns:
                self._tree.take_off(child)
            self._newest_ns.clear()

    def _receive(self, message: "TFMessage", *, static: bool) -> None:
        add = self._add_static if static else self._add_moving
        for entry in message.transforms:
            add(entry)

    def _add_moving(self, transform: "TransformStamped") -> None:
        def add(link: _Link) -> None:
            with self._lock:
                moved = self._tree.hang(link.parent, link.child)
                newest_ns = self._newest_ns.get(link.child, link.stamp_ns)
                if moved or link.stamp_ns < newest_ns - self._history_ns:
                    self._buffer.set_transform_static(transform, AUTHORITY)  # tf2 then forgets the frame's history
                    newest_ns = link.stamp_ns
                self._newest_ns[link.child] = max(newest_ns, link.stamp_ns)
                self._buffer.set_transform(transform, AUTHORITY)

        _take(transform, add, self._on_problem)

    def _add_static(self, transform: "TransformStamped") -> None:
        def add(link: _Link) -> None:
            with self._lock:
                self._tree.hang(link.parent, link.child)
                self._newest_ns.pop(link.child, None)
                self._buffer.set_transform_static(transform, AUTHORITY)

        _take(transform, add, self._on_problem)


@dataclass(frozen=True)
class _Link:
    """One transform as it came: `matrix` is parent_from_child (4, 4); frames lack the slash of older publishers."""

    parent: str
    child: str
    stamp_ns: int
    matrix: np.ndarray


def _take(entry: "TransformStamped", add: Callable[[_Link], None], on_problem: Callable[[str], None]) -> None:
    """Add what a message says of one transform; reports it where it cannot be used, or `add` refuses it."""
    parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
    try:
        if not parent or not child:
            raise TransformError("a frame has no name; check its publisher")
        matrix = from_transform(entry.transform)
        check_finite(parent, child, matrix)
        quaternion = from_quaternion(entry.transform.rotation)
        if abs(quaternion @ quaternion - 1.0) >= LENGTH_TOLERANCE:
            length = np.linalg.norm(quaternion)
            raise TransformError(f"its quaternion has length {length:.3g} instead of 1; let its publisher normalise it")
        add(_Link(parent, child, to_nanoseconds(entry.header.stamp), matrix))
    except (TransformError, DataError) as error:
        on_problem(f"tf {parent} -> {child} was refused: {error}")
