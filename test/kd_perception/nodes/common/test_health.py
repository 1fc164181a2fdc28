"""What monitors read on /diagnostics: its names and levels, and that it comes often enough whatever happens."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: there are no nodes")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from kd_perception.nodes.common.health import PROBLEM_S, PUBLISH_PERIOD_S, DelayMonitor, Health

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
AUTOWARE_TIMEOUT_S = 1.0  # of diagnostic_graph_aggregator, for a status that does not come and for one that is old


class QuietNode:
    """The part of a node that Health uses; keeps what is published, and the period of its timer."""

    def __init__(self, name: str = "/bev_student") -> None:
        self.name, self.published, self.logged, self.context = name, [], [], SimpleNamespace(ok=lambda: True)

    def get_fully_qualified_name(self):
        return self.name

    def create_publisher(self, kind, topic, qos):
        self.topic = topic
        return SimpleNamespace(publish=self.published.append)

    def create_timer(self, period_s, callback, clock):
        self.period_s = period_s

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: Time(sec=7)))

    def get_logger(self):
        return SimpleNamespace(warning=self.logged.append)

    def destroy_timer(self, timer):
        """Nothing to do."""

    def destroy_publisher(self, publisher):
        """Nothing to do."""


class Steady:
    """A steady clock that a test turns."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Steady()


@pytest.fixture
def node():
    return QuietNode()


@pytest.fixture
def health(node, clock):
    return Health(node, DelayMonitor(max_allowed_ms=200.0, max_consecutive_ms=1000.0), now=clock)


@pytest.mark.parametrize(
    "full, shown", [("/bev_student", "bev_student"), ("/robot1/bev_student", "robot1/bev_student")]
)
def test_names_are_those_of_diagnostic_updater(full, shown):
    node = QuietNode(full)
    health = Health(node)
    health.publish()
    (message,) = node.published
    (status,) = message.status
    assert node.topic == "/diagnostics" and message.header.stamp.sec == 7
    assert status.name == f"{shown}: health" and status.hardware_id == shown


def test_reports_come_more_often_than_monitors_lose_patience(node, health):
    assert node.period_s == PUBLISH_PERIOD_S and 2 * PUBLISH_PERIOD_S <= AUTOWARE_TIMEOUT_S
    assert PROBLEM_S >= 1.0 + PUBLISH_PERIOD_S  # a monitor that looks once a second sees each problem


def test_inactive_warns_active_is_ok_and_the_last_report_is_stale(node, health):
    assert health.status().level == WARN and health.status().message.startswith("inactive: ")
    with health.active():
        assert (health.status().level, health.status().message) == (OK, "ok")
    assert health.status().level == WARN
    health.close()
    assert node.published[-1].status[0].level == STALE


def test_a_problem_warns_for_a_while_and_stays_in_the_values(health, clock, node):
    with health.active():
        health.problem("camera_problems", "camera 'left' is cut")
        health.count("frames_answered", 3)
        health.detail({"engine": "openvino"})
        clock.now_s += PROBLEM_S - 0.1
        status = health.status()
        assert (status.level, status.message) == (WARN, "camera 'left' is cut")
        health.problem("resets", "time jumped back")
        assert health.status().message == "camera 'left' is cut; time jumped back"
        clock.now_s += 0.2
        assert health.status().message == "time jumped back"
        clock.now_s += PROBLEM_S
        status = health.status()
    assert (status.level, status.message) == (OK, "ok")
    assert {entry.key: entry.value for entry in status.values} == {
        "camera_problems": "1", "frames_answered": "3", "resets": "1", "engine": "openvino",
        "last_problem": "time jumped back",
    }  # fmt: skip
    assert node.logged == ["camera 'left' is cut", "time jumped back"]


def test_slow_frames_warn_and_are_an_error_when_it_lasts(health, clock):
    with health.active():
        health.processed(250.0)
        assert health.status().level == WARN and "250 ms (allowed 200 ms)" in health.status().message
        clock.now_s += 1.5
        health.processed(260.0)
        assert health.status().level == ERROR and "for 1.5 s now" in health.status().message
        health.processed(150.0)
        assert health.status().level == OK


def test_frames_that_are_not_answered_are_an_error_when_it_lasts(health, clock):
    with health.active():
        health.unanswered("no CameraInfo of camera 'front'")
        assert health.status().level == WARN
        clock.now_s += 1.1
        health.unanswered("no CameraInfo of camera 'front'")
        status = health.status()
        assert status.level == ERROR and "no frame is answered: no CameraInfo of camera 'front'" in status.message
        health.processed(10.0)
        assert health.status().level == OK


def test_a_single_refused_frame_is_no_error(health, clock):
    with health.active():
        for _ in range(5):
            health.unanswered("cut")
            clock.now_s += 0.5
            health.processed(10.0)
            clock.now_s += 0.5
        assert health.status().level == OK


def test_a_node_without_a_limit_of_time_reports_no_delay(node, clock):
    health = Health(node, now=clock)
    with health.active():
        health.processed(1e6)
        health.unanswered("nothing")
        assert health.status().level == OK
