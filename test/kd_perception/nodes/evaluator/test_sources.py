"""Results of several detectors on one topic are noticed, and refused by the evaluator."""

import threading
from functools import partial

import numpy as np
import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from support.domains import free_domain
from support.graph import Peer

from kd_msgs.msg import FrameStatus, Sample
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES
from kd_perception.nodes.evaluator.node import Evaluator
from kd_perception.nodes.evaluator.sources import Sources
from kd_perception.ros.detections import to_detection_array
from kd_perception.ros.qos import EVERY_RESULT
from kd_perception.ros.stamps import to_time


@pytest.mark.parametrize(
    ("messages", "mixed"),
    [
        ([("a", 1), ("a", 2), ("a", 2)], False),
        ([("a", 1), ("a", 2), ("b", 3), ("b", 4)], False),  # restarted
        ([("a", 1), ("b", 1)], True),
        ([("a", 1), ("b", 2), ("a", 3)], True),
        ([("a", 1), ("b", 2), ("c", 3), ("b", 4), ("a", 5)], True),
    ],
)
def test_publishers_that_send_at_a_time_are_noticed(messages, mixed):
    sources = Sources()
    for publisher, stamp_ns in messages:
        sources.came("/status", publisher.encode(), stamp_ns)
        sources.came("/objects", b"a", stamp_ns)
    assert bool(sources.problem) == mixed and ("/status" in sources.problem) == mixed


@pytest.fixture
def evaluator(tmp_path):
    rclpy.init(domain_id=free_domain())
    node, executor = Evaluator(), MultiThreadedExecutor(num_threads=2)
    node.set_parameters([Parameter("out", value=str(tmp_path / "out")), Parameter("settle_s", value=0)])
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown()
    node.close()
    rclpy.shutdown()
    thread.join()


def test_classes_that_a_swapped_student_adds_are_left_out_and_named(evaluator):
    stamp_ns = 10**9
    grown = NUSCENES.with_others(["tram"])
    found = Boxes(
        np.array([[5.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), np.ones((2, 3)), np.zeros(2), np.zeros((2, 2)),
        np.array([grown.label("tram"), grown.label("car")]), np.array([0.9, 0.8]), grown,
    )  # fmt: skip
    evaluator._receive_objects(to_detection_array(found, stamp_ns, "base_link", "grown@1"), stamp_ns)
    (kept,) = [entry.boxes for entry in evaluator._frames._detections.values()]
    assert kept.classes == NUSCENES and [kept.class_of(0).name] == ["car"] and len(kept) == 1
    values = {entry.key: entry.value for entry in evaluator._health.status().values}
    assert values["foreign_classes"] == "1" and "boxes of tram are left out" in values["last_problem"]


def test_the_evaluator_does_not_score_what_two_detectors_have_said(evaluator, tmp_path):
    with Peer(rclpy.get_default_context().get_domain_id()) as peer:
        make = partial(peer.node.create_publisher, qos_profile=EVERY_RESULT)
        samples = make(Sample, "/evaluator/input/sample")
        detectors = [make(FrameStatus, "/evaluator/input/status") for _ in range(2)]
        peer.until(lambda: all(topic.get_subscription_count() for topic in (samples, *detectors)))
        for number in range(3):
            for publisher in (samples, *detectors):
                message = publisher.msg_type()
                message.header.stamp = to_time(10**9 * (number + 1))
                publisher.publish(message)
        client = peer.node.create_client(Trigger, "/evaluator/evaluate")
        peer.until(client.service_is_ready)
        peer.until(lambda: evaluator._sources.problem)
        answer = client.call_async(Trigger.Request())
        peer.until(answer.done)
    assert not answer.result().success
    assert "nothing is scored: several publishers send on /evaluator/input/status" in answer.result().message
    assert not list((tmp_path / "out").glob("*.json"))
