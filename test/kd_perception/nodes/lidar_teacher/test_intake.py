"""When a frame of the teacher begins: at its pace, and after the answer to the one before."""

from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from support.point_messages import message
from support.reports import Report

from kd_perception.nodes.lidar_teacher import intake
from kd_perception.nodes.lidar_teacher.kept_clouds import KeptClouds, Pace
from kd_perception.teacher.spec import PointsSpec

pytestmark = pytest.mark.ros
S = 1_000_000_000
TOPIC = "/LIDAR_TOP/points"


class Stages:
    """Stages that are busy when a test says so."""

    def __init__(self) -> None:
        self.idle, self.begun = True, []

    def submit(self, record):
        self.begun.append(record.stamp_ns // S)
        return None


def begun(monkeypatch: pytest.MonkeyPatch, rate_hz: float, busy: range) -> list[int]:
    """Which of ten clouds, one a second, begin a frame, if the stages are busy at some of them."""
    now_s, stages = [100.0], Stages()
    monkeypatch.setattr(intake.time, "monotonic", lambda: now_s[0])
    outputs = SimpleNamespace(wanted=lambda: True)
    reports = intake.CloudReports(Report(), outputs, None)
    clouds = KeptClouds([TOPIC], PointsSpec(1, (-5.0, 3.0), 8, 0))
    taken = intake.CloudIntake(
        SimpleNamespace(), [TOPIC], intake.CloudReceivers(clouds, None, stages, Pace(rate_hz)), reports
    )
    for second in range(10):
        now_s[0] = 100.0 + second
        stages.idle = second not in busy
        taken._receive_cloud(0, bytes(serialize_message(message(np.ones((1, 4), np.float32), (1 + second) * S))))
    return [stamp - 1 for stamp in stages.begun]


def test_with_a_pace_a_frame_waits_for_the_answer_to_the_one_before(monkeypatch):
    assert begun(monkeypatch, 1.0, range(0)) == list(range(10))
    assert begun(monkeypatch, 1.0, range(3, 6)) == [0, 1, 2, 6, 7, 8, 9]
    assert begun(monkeypatch, 0.5, range(2, 6)) == [0, 6, 8]
    assert begun(monkeypatch, 0.0, range(3, 6)) == list(range(10)), "without one every cloud, and the newest wins"
