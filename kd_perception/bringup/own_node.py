"""A node in a context of its own: it neither needs nor disturbs another rclpy.init, nor takes over signals."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

POLL_S = 0.05


class OwnNode:
    """The node is `node`; it hears and answers while somebody waits. Close it, or use it in a `with`."""

    def __init__(self, name: str, domain_id: int | None = None, **options: object) -> None:
        """`domain_id` overrides ROS_DOMAIN_ID; `options`: further ones of `rclpy.create_node`."""
        self._context = Context()
        self._context.init(domain_id=domain_id)
        self.node = rclpy.create_node(name, context=self._context, enable_rosout=False, **options)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def wait(self, condition: Callable[[], object], timeout_s: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Spin until the condition holds or `stop()`; False after the timeout."""
        deadline_s = time.monotonic() + timeout_s
        while not condition() and not stop():
            if time.monotonic() > deadline_s:
                return False
            self._executor.spin_once(timeout_sec=POLL_S)
        return True

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
