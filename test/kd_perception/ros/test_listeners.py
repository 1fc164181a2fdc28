"""A publisher's listeners where the middleware has miscounted them."""

import time

import pytest
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Empty

from kd_perception.ros import listeners
from kd_perception.ros.listeners import Listeners, has_listeners

pytestmark = pytest.mark.ros
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Miscounting:
    """A publisher that has missed all its matches."""

    def __init__(self, publisher: Publisher) -> None:
        self.topic_name, self.qos_profile = publisher.topic_name, publisher.qos_profile

    def get_subscription_count(self) -> int:
        return 0


def test_subscriptions_that_the_publisher_missed_are_counted_by_the_graph(node: Node, monkeypatch):
    monkeypatch.setattr(listeners, "SETTLE_S", 0.05)
    publisher = node.create_publisher(Empty, "topic", 1)
    missing = Miscounting(publisher)
    counts = Listeners(node)
    assert counts.count(publisher) == counts.count(missing) == 0 and not has_listeners(node, missing)
    subscriptions = [node.create_subscription(Empty, "topic", print, qos) for qos in (1, 1, LATCHED)]  # the last: unfit
    deadline_s = time.monotonic() + 10.0
    while publisher.get_subscription_count() < 2 or node.count_subscribers("topic") < len(subscriptions):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert counts.count(publisher) == 2
    assert counts.count(missing) == 0 and has_listeners(node, missing)  # they may be matched at any moment
    time.sleep(0.06)
    assert counts.count(missing) == 2
