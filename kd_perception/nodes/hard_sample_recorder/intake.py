"""What the recorder does with each message: read its stamp, hold its bytes; nothing here blocks or decodes.

An answer of the teacher waits until what belongs to its frame has come, and then goes to the worker.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from rclpy.clock import Clock, ClockType

from kd_perception.bags.frame_file import RecordedMessage
from kd_perception.continual.held_messages import HeldMessage, HeldMessages
from kd_perception.errors import DataError
from kd_perception.nodes.common.clocks import when_clock_goes_back
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.hard_sample_recorder.inputs import RecorderTopics
from kd_perception.options.recorder import RecorderOptions
from kd_perception.ros.cdr import CdrReader

POLL_S = 0.1
SETTLE_S = 0.2  # after an answer: transforms and odometry of its time come in later callbacks
STUDENT_WAIT_S = 1.0  # for the student's frame of an answer's time
SILENT_S = 5.0
MOST_WAITING = 8  # answers; a teacher that is quicker than the disk is overtaken
MOST_STATIC = 200  # messages on tf_static


@dataclass(frozen=True)
class WaitingAnswer:
    """The teacher's detections, and the steady time in s at which they came."""

    objects: HeldMessage
    arrived_s: float


class RecorderIntake:
    """The recorder's subscriptions while it is active. `static`: all messages of tf_static, oldest first."""

    def __init__(
        self,
        node: ManagedNode[RecorderOptions],
        topics: RecorderTopics,
        held: HeldMessages,
        health: Health,
        submit: Callable[[HeldMessage], None],
        *,
        forget_after: Callable[[int], object],
    ) -> None:
        """`forget_after` hears the time in ns to which the clock has gone back: poses of later times are void."""
        self._forget_after = forget_after
        self._node, self._topics, self._held, self._health, self._submit = node, topics, held, health, submit
        self.static: dict[bytes, RecordedMessage] = {}
        self._waiting: deque[WaitingAnswer] = deque()
        self._last_s = dict.fromkeys((topics.student.objects, topics.teacher.objects), time.monotonic())
        self._open = True

    def listen(self, ending: ExitStack) -> None:
        """Subscribe; `ending` takes the calls that end it."""
        ending.callback(self._end)
        node = self._node
        for kind, topic, qos in self._topics.streams():
            package, name = kind.__module__.partition(".")[0], kind.__name__
            receive = partial(self._receive, topic, f"{package}/msg/{name}")
            ending.callback(node.destroy_subscription, node.create_subscription(kind, topic, receive, qos, raw=True))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, call in ((POLL_S, self._pass_on), (1.0, self._report_silence)):
            ending.callback(node.destroy_timer, node.create_timer(period_s, call, clock=steady))
        clock = node.get_clock()
        when_clock_goes_back(clock, lambda _: self._forget_after(clock.now().nanoseconds), ending)

    def _end(self) -> None:
        self._open = False

    def _receive(self, topic: str, type_name: str, cdr: bytes) -> None:
        if not self._open:
            return  # taken before, delivered after the node was deactivated
        try:
            stamp_ns = _stamp_ns(cdr, type_name)
        except DataError as error:
            self._health.problem("refused_messages", f"{topic}: {error}")
            return
        received_ns = self._node.get_clock().now().nanoseconds or stamp_ns  # 0: no /clock has come yet
        if topic == self._topics.tf_static:
            self._hold_static(RecordedMessage(topic, type_name, bytes(cdr), received_ns, latched=True))
            return
        message = RecordedMessage(topic, type_name, bytes(cdr), received_ns)
        if not self._held.add(stamp_ns, message):
            self._health.problem(
                "held_too_short",
                f"messages of {self._node.settings.teacher_max_age_s:g} s need more than "
                f"{self._node.settings.held_mb} MB; raise held_mb, or choose compressed images",
            )
        if topic in self._last_s:
            self._last_s[topic] = time.monotonic()
        if topic == self._topics.teacher.objects:
            self._health.count("teacher_answers")
            self._waiting.append(WaitingAnswer(HeldMessage(stamp_ns, message), time.monotonic()))
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._health.count("answers_overtaken")

    def _hold_static(self, message: RecordedMessage) -> None:
        self.static.pop(message.cdr, None)  # said again: now it is the newest
        self.static = {**self.static, message.cdr: message}  # another thread may go through the one before
        if len(self.static) > MOST_STATIC:
            self.static = dict(list(self.static.items())[1:])

    def _pass_on(self) -> None:
        """Submit answers whose frame is complete, or has been waited for long enough."""
        while self._waiting:
            answer = self._waiting[0]
            waited_s = time.monotonic() - answer.arrived_s
            student_ns = self._held.newest_ns(self._topics.student.status)
            seen = student_ns is not None and student_ns >= answer.objects.stamp_ns
            if waited_s < SETTLE_S or (not seen and waited_s < STUDENT_WAIT_S):
                return
            self._waiting.popleft()
            self._submit(answer.objects)

    def _report_silence(self) -> None:
        now_s = time.monotonic()
        for side, topic in (("student", self._topics.student.objects), ("teacher", self._topics.teacher.objects)):
            silent_s = now_s - self._last_s[topic]
            if silent_s > SILENT_S:
                self._health.problem(
                    f"{side}_silent",
                    f"no detections of the {side} for {silent_s:.0f} s on {topic}, so nothing is kept; start it, or "
                    "look at its own diagnostics",
                )


def _stamp_ns(cdr: bytes, type_name: str) -> int:
    """The stamp of a message, of transforms the first's; raises DataError if it is malformed."""
    fields = CdrReader(cdr)
    if type_name.endswith("/TFMessage") and not fields.number("I"):
        raise DataError("a message without transforms; check its publisher")
    return fields.header()[0]
