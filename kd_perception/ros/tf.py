"""Transforms from /tf and /tf_static: tf2_ros where installed, else this project's buffer, behind one interface."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kd_perception.errors import DataError
from kd_perception.ros.geometry import from_transform
from kd_perception.ros.qos import TF, TF_STATIC
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf_buffer import TransformBuffer, TransformError, check_transform

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node
    from tf2_msgs.msg import TFMessage


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


class OwnTransforms:
    """A TransformBuffer fed by two subscriptions."""

    def __init__(self, node: "Node", on_problem: Callable[[str], None], history_s: float) -> None:
        from tf2_msgs.msg import TFMessage

        self._node = node
        self._on_problem = on_problem
        self._buffer = TransformBuffer(history_s)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", partial(self._receive, static=False), TF),
            node.create_subscription(TFMessage, "/tf_static", partial(self._receive, static=True), TF_STATIC),
        ]

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """See TransformSource."""
        return self._buffer.lookup(target, source, stamp_ns)

    def forget_after(self, stamp_ns: int) -> None:
        """See TransformSource."""
        self._buffer.forget_after(stamp_ns)

    def close(self) -> None:
        """See TransformSource."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _receive(self, message: "TFMessage", *, static: bool) -> None:
        for entry in message.transforms:
            parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
            try:
                self._buffer.set_transform(
                    parent, child, to_nanoseconds(entry.header.stamp), from_transform(entry.transform), static=static
                )
            except (TransformError, DataError) as error:
                self._on_problem(f"tf {parent} -> {child} was refused: {error}")


class Tf2Transforms:
    """tf2_ros behind the same interface.

    Two things stay as tf2 does them: a loop of frames is noticed when a lookup meets it, not when it is received; and
    transforms from before the history are left aside until `forget_after`, which forgets all but static ones.
    """

    def __init__(self, node: "Node", on_problem: Callable[[str], None], history_s: float) -> None:
        import tf2_ros
        from rclpy.duration import Duration

        # Without the node: a buffer that has it leaves its service tf2_frames and its clock callback behind on it.
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=history_s))
        self._on_problem = on_problem
        self._listener = tf2_ros.TransformListener(self, node, spin_thread=False, qos=TF, static_qos=TF_STATIC)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """See TransformSource."""
        import tf2_ros
        from rclpy.time import Time

        time = Time(nanoseconds=max(stamp_ns, 1))  # 0 is no time to tf2 but means "the newest", and it has no earlier
        try:
            return from_transform(self._buffer.lookup_transform(target, source, time).transform)
        except tf2_ros.TransformException as error:
            raise TransformError(
                f"tf {target} <- {source} at {stamp_ns / 1e9:.3f} s is not available: {error}"
            ) from error

    def forget_after(self, stamp_ns: int) -> None:
        """See TransformSource; tf2 can only forget everything."""
        self._buffer.clear()

    def close(self) -> None:
        """See TransformSource."""
        self._listener.unregister()

    def set_transform(self, transform: "TransformStamped", authority: str) -> None:
        """Called by the listener for each transform of /tf."""
        if self._usable(transform):
            self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: "TransformStamped", authority: str) -> None:
        """Called by the listener for each transform of /tf_static."""
        if self._usable(transform):
            self._buffer.set_transform_static(transform, authority)

    def _usable(self, entry: "TransformStamped") -> bool:
        """Whether a transform can be used; else its problem is reported, which tf2 would only log, or not notice."""
        parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
        try:
            check_transform(parent, child, from_transform(entry.transform))
        except (TransformError, DataError) as error:
            self._on_problem(f"tf {parent} -> {child} was refused: {error}")
            return False
        return True
