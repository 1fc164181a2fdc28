"""Callbacks hold bytes by their stamp, pass answers on when their frame is there, and miss who is silent."""

import time
from types import SimpleNamespace

import pytest
from support.disputed import NAMES, Moment
from support.reports import Report

from kd_perception.continual.held_messages import HeldMessages
from kd_perception.nodes.hard_sample_recorder import intake
from kd_perception.nodes.hard_sample_recorder.inputs import RecorderTopics
from kd_perception.options.recorder import RecorderOptions

pytestmark = pytest.mark.ros

TOPICS = RecorderTopics.of(RecorderOptions(camera_names=NAMES), lambda name: "/" + name.removeprefix("~/"))
TEACHER, STUDENT = "/input/teacher/objects", "/input/student/status"


class Callbacks:
    """A recorder's intake at a time that the test sets, fed as the middleware does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = time.monotonic()
        monkeypatch.setattr(intake.time, "monotonic", lambda: self.now_s)
        clock = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=0))  # no /clock has come
        node = SimpleNamespace(settings=RecorderOptions(), get_clock=lambda: clock)
        self.report, self.submitted, self.held = Report(), [], HeldMessages(10.0, 10**7)
        self.intake = intake.RecorderIntake(
            node, TOPICS, self.held, self.report, self.submitted.append, forget_after=print
        )

    def receive(self, moment: Moment, suffix: str, topic: str) -> None:
        for message in (*moment.sensors(), *moment.answers()):
            if message.topic.endswith(suffix):
                self.intake._receive(topic, message.type_name, message.cdr)
                return

    def passed_on(self, after_s: float = 0.0) -> list[int]:
        self.now_s += after_s
        self.intake._pass_on()
        return [round(answer.stamp_ns / 1e9 % 1e8 * 100) for answer in self.submitted]


def test_an_answer_waits_for_the_students_frame(monkeypatch):
    callbacks, moment = Callbacks(monkeypatch), Moment(10.0, cloud_s=0.0)
    callbacks.receive(moment, "teacher/output/objects", TEACHER)
    assert not callbacks.passed_on() and not callbacks.passed_on(0.5)
    callbacks.receive(moment, "student/output/status", STUDENT)
    assert len(callbacks.passed_on()) == 1
    callbacks.receive(Moment(20.0, cloud_s=0.0), "teacher/output/objects", TEACHER)
    assert len(callbacks.passed_on(0.5)) == 1 and len(callbacks.passed_on(0.6)) == 2, "not for ever"
    assert callbacks.report.counts["teacher_answers"] == 2


def test_a_teacher_that_is_too_quick_is_overtaken(monkeypatch):
    callbacks = Callbacks(monkeypatch)
    for seconds in range(12):
        callbacks.receive(Moment(seconds), "teacher/output/objects", TEACHER)
    assert callbacks.report.counts["answers_overtaken"] == 4 and len(callbacks.passed_on(2.0)) == 8


def test_static_transforms_stay_and_repeated_ones_are_held_once(monkeypatch):
    callbacks = Callbacks(monkeypatch)
    for seconds in (1.0, 2.0, 3.0):
        callbacks.receive(Moment(seconds), "tf_static", "/tf_static")
    (message,) = callbacks.intake.static.values()
    assert message.latched and message.received_ns == 0, "the stamp of static transforms, without a clock"


def test_broken_messages_and_silence_are_reported(monkeypatch):
    callbacks = Callbacks(monkeypatch)
    callbacks.intake._receive("/odom", "nav_msgs/msg/Odometry", b"\x00\x01\x00\x00\x01")
    callbacks.intake._receive("/tf", "tf2_msgs/msg/TFMessage", bytes([0, 1, 0, 0, 0, 0, 0, 0]))
    assert callbacks.report.counts == {"refused_messages": 2} and "/odom: a message of 5 bytes is cut" in str(
        callbacks.report.sentences
    )
    callbacks.intake._report_silence()
    callbacks.now_s += 4.0
    callbacks.receive(Moment(1.0), "student/output/objects", "/input/student/objects")
    callbacks.now_s += 2.0
    callbacks.intake._report_silence()
    assert callbacks.report.counts == {"refused_messages": 2, "teacher_silent": 1}
    assert "for 6 s on /input/teacher/objects" in callbacks.report.sentences[-1]
    callbacks.intake._end()
    callbacks.receive(Moment(1.0), "teacher/output/objects", TEACHER)
    assert "teacher_answers" not in callbacks.report.counts, "delivered after the node was deactivated"


def test_too_little_memory_is_reported(monkeypatch):
    callbacks = Callbacks(monkeypatch)
    callbacks.held._most_bytes = 1000
    for seconds in (1.0, 1.5):
        callbacks.receive(Moment(seconds), "/points", "/input/points")
    assert callbacks.report.counts == {"held_too_short": 1 + 1}
