"""What nodes are made of, without a graph: the worker, delays, odometry, answers, parameters."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter

from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import make_transform
from kd_perception.nodes.bev_student.odometry import OdometryWatch
from kd_perception.nodes.common.health import ERROR, OK, WARN, DelayMonitor
from kd_perception.nodes.common.latest_worker import LatestWorker
from kd_perception.nodes.common.parameters import declare_parameters, parameter, read_parameters
from kd_perception.nodes.evaluator.answers import Answers

S = 1_000_000_000


def test_worker_keeps_only_the_newest_waiting_item():
    release, started, finished, done = threading.Event(), threading.Event(), threading.Semaphore(0), []

    def work(item):
        started.set()
        assert release.wait(10.0)
        done.append(item)
        finished.release()

    worker = LatestWorker(work)
    assert worker.submit(1) is None
    assert started.wait(10.0)
    assert worker.submit(2) is None
    assert worker.submit(3) == 2
    release.set()
    assert finished.acquire(timeout=10.0) and finished.acquire(timeout=10.0)
    assert worker.stop() is None and done == [1, 3]


def test_worker_hands_back_what_it_did_not_do():
    release, started = threading.Event(), threading.Event()
    worker = LatestWorker(lambda item: (started.set(), release.wait(10.0)))
    worker.submit(1)
    assert started.wait(10.0)
    worker.submit(2)
    stopper = threading.Timer(0.05, release.set)
    stopper.start()
    assert worker.stop() == 2


def test_delays_warn_first_and_are_errors_when_they_last():
    monitor = DelayMonitor(max_allowed_ms=100.0, max_consecutive_ms=1000.0)
    levels = []
    for now_s, processing_ms in enumerate((50.0, 150.0, 150.0, 150.0, 50.0, 150.0)):
        monitor.update(processing_ms, float(now_s))
        levels.append(monitor.level)
    assert levels == [OK, WARN, WARN, ERROR, OK, WARN]


def test_odometry_that_speed_explains_is_no_jump():
    watch = OdometryWatch()
    for step in range(10):
        assert watch.add(step * S, np.array([20.0 * step, 0.0, 0.0]), 20.0) == ""


@pytest.mark.parametrize(
    "stamp, position, text",
    [
        (1 * S, [50.0, 0.0, 0.0], "jumped 50.0 m"),
        (-1 * S, [0.0] * 3, "went back by 1.000 s"),
        (1 * S, [np.nan] * 3, "jumped"),
    ],
)
def test_odometry_jumps(stamp, position, text):
    watch = OdometryWatch()
    watch.add(0, np.zeros(3), 1.0)
    assert text in watch.add(stamp, np.array(position), 1.0)


def boxes(count):
    zeros = np.zeros(count)
    return Boxes(
        np.zeros((count, 3)), np.ones((count, 3)), zeros, np.zeros((count, 2)), zeros.astype(np.int64), zeros + 1
    )


def test_answers_join_by_stamp_in_any_order():
    answers = Answers()
    answers.add_boxes(2, "base_link", boxes(3))
    assert answers.unlocated() == []  # no sample asks for it yet
    answers.add_sample(2, "scene", "b")
    answers.add_sample(1, "scene", "a")
    assert answers.unlocated() == [(2, "base_link")] and answers.open_samples() == ["b", "a"]
    answers.set_pose_problem(2, "tf is not there yet")
    assert answers.missing() == {"b": "tf is not there yet", "a": "no detections with its stamp came"}
    answers.set_pose(2, make_transform(np.array([1.0, 0, 0, 0]), [100.0, 0.0, 0.0]))
    answers.add_refusal(1, "the detector was busy")
    assert answers.open_samples() == [] and answers.missing() == {"a": "the detector was busy"}
    results = answers.results()
    assert list(results) == ["a", "b"] and results["a"] == []
    assert [row["translation"] for row in results["b"]] == [[100.0, 0.0, 0.0]] * 3
    assert answers.scenes() == ["scene"]


@dataclass(frozen=True)
class Example:
    rate: float = parameter(1.0, "times a second", 0.0, 10.0)
    count: int = parameter(3, "how many", 1, 5)
    names: tuple[str, ...] = parameter((), "names")
    mode: str = parameter("raw", "how", choices=("raw", "compressed"))
    on: bool = parameter(True, "whether")


@pytest.fixture
def make_node():
    context = Context()
    context.init()

    def make(**values):
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = rclpy.create_node("example", context=context, parameter_overrides=overrides)
        declare_parameters(node, Example)
        return node

    yield make
    context.try_shutdown()


def test_parameters_have_defaults_descriptors_and_types(make_node):
    node = make_node()
    assert read_parameters(node, Example) == Example()
    described = node.describe_parameter("rate")
    assert described.description == "times a second" and described.floating_point_range[0].to_value == 10.0
    assert node.describe_parameter("count").integer_range[0].from_value == 1
    assert "raw, compressed" in node.describe_parameter("mode").additional_constraints


def test_parameters_take_overrides(make_node):
    given = read_parameters(make_node(rate=2.5, names=["a", "b"], mode="compressed", on=False), Example)
    assert given == Example(rate=2.5, names=("a", "b"), mode="compressed", on=False)


def test_parameters_out_of_range_or_choice_are_refused(make_node):
    with pytest.raises(Exception, match="count"):
        make_node(count=9)
    with pytest.raises(ConfigError, match="mode is 'film'.*raw, compressed"):
        read_parameters(make_node(mode="film"), Example)
