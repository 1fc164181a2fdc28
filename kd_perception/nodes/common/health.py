"""What a node reports of itself: counters and problems as diagnostics, at a limited rate; delays as Autoware does."""

import threading
import time
from collections import Counter
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from kd_perception.ros.publishing import publish
from kd_perception.ros.qos import DIAGNOSTICS

LOG_PERIOD_S = 5.0  # the same kind of problem is logged at most this often
PUBLISH_PERIOD_S = 1.0
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class DelayMonitor:
    """WARN while processing is slower than allowed, ERROR once that has lasted too long."""

    def __init__(self, max_allowed_ms: float, max_consecutive_ms: float) -> None:
        self._max_allowed_ms = max_allowed_ms
        self._max_consecutive_ms = max_consecutive_ms
        self._slow_since_s: float | None = None
        self.level = OK
        self.text = ""

    def update(self, processing_ms: float, now_s: float) -> None:
        """Take one frame's processing time at steady time `now_s`."""
        if processing_ms <= self._max_allowed_ms:
            self._slow_since_s, self.level, self.text = None, OK, ""
            return
        if self._slow_since_s is None:
            self._slow_since_s = now_s
        lasted_ms = 1e3 * (now_s - self._slow_since_s)
        self.level = ERROR if lasted_ms > self._max_consecutive_ms else WARN
        self.text = (
            f"processing takes {processing_ms:.0f} ms (allowed {self._max_allowed_ms:.0f} ms), "
            f"for {lasted_ms / 1e3:.1f} s now"
        )


class Health:
    """Counts events, logs problems at a limited rate, publishes a DiagnosticArray every second. Thread-safe."""

    def __init__(self, node: LifecycleNode, delay: DelayMonitor | None = None) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._details: dict[str, str] = {}
        self._problems: dict[str, str] = {}  # since the last report, kind -> sentence
        self._last_sentence = ""
        self._logged_s: dict[str, float] = {}
        self._delay = delay
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self._timer = node.create_timer(PUBLISH_PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += amount

    def detail(self, values: Mapping[str, str]) -> None:
        """Set values that diagnostics show next to the counters."""
        with self._lock:
            self._details.update(values)

    def problem(self, kind: str, sentence: str) -> None:
        """Count a problem under its kind, report it in the next diagnostics, log it at a limited rate."""
        now_s = time.monotonic()
        with self._lock:
            self._counts[kind] += 1
            self._problems[kind] = self._last_sentence = sentence
            log = now_s - self._logged_s.get(kind, -LOG_PERIOD_S) >= LOG_PERIOD_S
            if log:
                self._logged_s[kind] = now_s
        if log:
            self._node.get_logger().warning(sentence)

    def processed(self, processing_ms: float) -> None:
        """Report how long one frame took, in ms."""
        if self._delay is not None:
            with self._lock:
                self._delay.update(processing_ms, time.monotonic())

    def watch_delay(self, delay: DelayMonitor) -> None:
        """Report delays by other limits from now on."""
        with self._lock:
            self._delay = delay

    def publish(self) -> None:
        """Publish the state now; problems count as reported then."""
        with self._lock:
            delay_level, delay_text = (self._delay.level, self._delay.text) if self._delay else (OK, "")
            texts = [*self._problems.values(), *([delay_text] if delay_text else [])]
            level = max([delay_level, WARN if self._problems else OK])
            values = {
                **{name: str(count) for name, count in sorted(self._counts.items())},
                **self._details,
                "last_problem": self._last_sentence,
            }
            self._problems.clear()
        name = self._node.get_fully_qualified_name().lstrip("/")
        status = DiagnosticStatus(level=level, name=name, hardware_id="", message="; ".join(texts) or "ok")
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        publish(self._node, self._publisher, message)

    def close(self) -> None:
        """Publish once more and stop."""
        self.publish()
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)
