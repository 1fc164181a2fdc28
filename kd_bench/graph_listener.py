"""Listens to a running detector: every FrameStatus, and its diagnostics."""

import threading
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import PointCloud2

from kd_msgs.msg import Detection3DArray, FrameStatus
from kd_perception.datasets.rigs import LIDAR
from kd_perception.ros.qos import EVERY_RESULT, RESULT, SENSOR


class GraphListener:
    """A node that subscribes to results and cloud in a thread, as a planner and a recorder do."""

    def __init__(self, domain_id: int) -> None:
        self._context = Context()
        self._context.init(domain_id=domain_id)
        self.node = rclpy.create_node("bench_listener", context=self._context, enable_rosout=False)
        self.statuses: list[tuple[float, FrameStatus]] = []
        self.reports: dict[str, dict[str, str]] = {}  # a node's newest counters
        make = self.node.create_subscription
        make(FrameStatus, "/bev_student/output/status", self._status, EVERY_RESULT)
        make(Detection3DArray, "/bev_student/output/objects", lambda message: None, RESULT)
        make(PointCloud2, f"/{LIDAR}/points", lambda cdr: None, SENSOR, raw=True)
        make(DiagnosticArray, "/diagnostics", self._diagnostics, 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="bench-listener", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> dict[str, str]:
        """The detector's, none before its first report."""
        return self.reports.get("bev_student", {})

    def close(self) -> None:
        """Stop listening."""
        self._context.try_shutdown()
        self._thread.join()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _status(self, message: FrameStatus) -> None:
        self.statuses.append((time.monotonic(), message))

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.reports[status.name.partition(":")[0]] = {entry.key: entry.value for entry in status.values}
