"""What a node says of itself on /diagnostics, as diagnostic_updater does: "<node>: health", twice a second.

OK: it works. WARN: it is inactive, had a problem within PROBLEM_S, or is slow. ERROR: it is slow, or answers no frame,
for longer than allowed. STALE: its last report. Autoware's graph aggregator takes a status for lost after 1 s.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from kd_perception.nodes.common.clocks import ClockWatch
from kd_perception.ros.publishing import publish
from kd_perception.ros.qos import DIAGNOSTICS

LOG_PERIOD_S = 5.0  # the same kind of problem is logged at most this often
PUBLISH_PERIOD_S = 0.5
PROBLEM_S = 1.5  # monitors that look once a second must see a problem, and one that recurs each second must not flicker
TASK = "health"
OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
INACTIVE = "inactive: nothing is processed until the node is activated"
CLOSED = "closed: this was the last report"


class DelayMonitor:
    """WARN while frames are processed more slowly than allowed or not answered, ERROR once that has lasted too long."""

    def __init__(self, max_allowed_ms: float, max_consecutive_ms: float) -> None:
        self._max_allowed_ms = max_allowed_ms
        self._max_consecutive_ms = max_consecutive_ms
        self._late_since_s: float | None = None
        self.level = OK
        self.text = ""

    def update(self, processing_ms: float, now_s: float) -> None:
        """Take the processing time of a frame that was answered at steady time `now_s`."""
        if processing_ms <= self._max_allowed_ms:
            self._late_since_s, self.level, self.text = None, OK, ""
        else:
            self._late(f"processing takes {processing_ms:.0f} ms (allowed {self._max_allowed_ms:.0f} ms)", now_s)

    def unanswered(self, reason: str, now_s: float) -> None:
        """Take a frame that could not be answered."""
        self._late(f"no frame is answered: {reason}", now_s)

    def _late(self, what: str, now_s: float) -> None:
        if self._late_since_s is None:
            self._late_since_s = now_s
        lasted_ms = 1e3 * (now_s - self._late_since_s)
        self.level = ERROR if lasted_ms > self._max_consecutive_ms else WARN
        self.text = f"{what}, for {lasted_ms / 1e3:.1f} s now"


class Health:
    """Counts events, logs problems at a limited rate, publishes a DiagnosticArray twice a second. Thread-safe."""

    def __init__(
        self, node: LifecycleNode, delay: DelayMonitor | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """now: steady time in s."""
        self._node = node
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._details: dict[str, str] = {}
        self._problems: dict[str, tuple[float, str]] = {}  # kind -> when it came last, sentence
        self._standing: dict[str, str] = {}
        self._last_sentence = ""
        self._logged_s: dict[str, float] = {}
        self._delay = delay
        self._active = self._closed = False
        self._clock = ClockWatch()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self._timer = node.create_timer(PUBLISH_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @contextmanager
    def active(self) -> Iterator[None]:
        """The node works while inside; outside it warns that it does not."""
        self._active = True
        try:
            yield
        finally:
            self._active = False

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += amount

    def detail(self, values: Mapping[str, str]) -> None:
        """Set values that diagnostics show next to the counters."""
        with self._lock:
            self._details.update(values)

    def problem(self, kind: str, sentence: str) -> None:
        """Count a problem under its kind, report it for PROBLEM_S, log it at a limited rate."""
        now_s = self._now()
        with self._lock:
            self._counts[kind] += 1
            self._problems[kind] = now_s, sentence
            self._last_sentence = sentence
            log = now_s - self._logged_s.get(kind, -LOG_PERIOD_S) >= LOG_PERIOD_S
            if log:
                self._logged_s[kind] = now_s
        if log:
            self._node.get_logger().warning(sentence)

    def standing(self, kind: str, sentence: str) -> None:
        """Warn with this sentence from now on, until another one of its kind, or '', takes its place."""
        with self._lock:
            self._standing[kind] = sentence

    def processed(self, processing_ms: float) -> None:
        """Report how long one frame took, in ms."""
        if self._delay is not None:
            with self._lock:
                self._delay.update(processing_ms, self._now())

    def watch_delay(self, delay: DelayMonitor) -> None:
        """Report delays by other limits from now on."""
        with self._lock:
            self._delay = delay

    def unanswered(self, reason: str) -> None:
        """Report that a frame could not be answered."""
        if self._delay is not None:
            with self._lock:
                self._delay.unanswered(reason, self._now())

    def status(self) -> DiagnosticStatus:
        """The state now."""
        with self._lock:
            level, texts = self._state()
            values = {
                **{name: str(count) for name, count in sorted(self._counts.items())},
                **self._details,
                "last_problem": self._last_sentence,
            }
        name = self._node.get_fully_qualified_name().lstrip("/")
        status = DiagnosticStatus(
            level=level, name=f"{name}: {TASK}", hardware_id=name, message="; ".join(texts) or "ok"
        )
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        return status

    def publish(self) -> None:
        """Publish the state now."""
        message = DiagnosticArray(status=[self.status()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        publish(self._node, self._publisher, message)

    def _report(self) -> None:
        """Once a period: what nobody else would notice, and the state."""
        missing = self._clock.missing(self._node.get_clock(), self._now())
        if missing:
            self.problem("clock_missing", missing)
        self.publish()

    def close(self) -> None:
        """Publish once more and stop."""
        self._closed = True
        self.publish()
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _state(self) -> tuple[bytes, list[str]]:
        """The worst level, and what there is to say."""
        oldest_s = self._now() - PROBLEM_S
        self._problems = {kind: entry for kind, entry in self._problems.items() if entry[0] > oldest_s}
        texts = [*(sentence for _, sentence in self._problems.values()), *filter(None, self._standing.values())]
        levels = [WARN] * bool(texts)
        if self._delay is not None and self._delay.text:
            levels.append(self._delay.level)
            texts.append(self._delay.text)
        if self._closed:
            levels.append(STALE)
            texts.insert(0, CLOSED)
        elif not self._active:
            levels.append(WARN)
            texts.insert(0, INACTIVE)
        return max(levels, default=OK), texts
