"""What nodes are made of, without a graph: the worker, delays, odometry."""

import threading

import numpy as np
import pytest

from kd_perception.nodes.common.health import ERROR, OK, WARN, DelayMonitor
from kd_perception.nodes.common.latest_worker import LatestWorker
from kd_perception.nodes.common.odometry import OdometryWatch

S = 1_000_000_000


def test_worker_keeps_only_the_newest_waiting_item():
    release, started, finished, done = threading.Event(), threading.Event(), threading.Semaphore(0), []

    def work(item):
        started.set()
        assert release.wait(10.0)
        done.append(item)
        finished.release()

    worker = LatestWorker(work)
    worker.submit(1)
    assert started.wait(10.0)
    worker.submit(2)
    worker.submit(3)
    release.set()
    assert finished.acquire(timeout=10.0) and finished.acquire(timeout=10.0)
    worker.stop()
    assert done == [1, 3]


def test_a_stopped_worker_finishes_one_item_and_drops_the_next():
    release, started, done = threading.Event(), threading.Event(), []
    worker = LatestWorker(lambda item: (started.set(), release.wait(10.0), done.append(item)))
    worker.submit(1)
    assert started.wait(10.0)
    worker.submit(2)
    stopper = threading.Timer(0.05, release.set)
    stopper.start()
    worker.stop()
    assert done == [1]


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
