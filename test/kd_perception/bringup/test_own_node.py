"""A node of its own context hears while somebody waits, and leaves nothing behind."""

import pytest
import rclpy
from std_msgs.msg import String
from support.domains import free_domain

from kd_perception.bringup.own_node import OwnNode

pytestmark = pytest.mark.ros


def test_it_hears_while_it_waits_and_no_other_init_is_touched():
    heard, domain = [], free_domain()
    with OwnNode("own_a", domain) as listener, OwnNode("own_b", domain) as talker:
        listener.node.create_subscription(String, "/own_words", heard.append, 1)
        publisher = talker.node.create_publisher(String, "/own_words", 1)
        assert talker.wait(publisher.get_subscription_count, 10.0)
        publisher.publish(String(data="word"))
        assert not heard, "nobody has waited yet"
        assert listener.wait(lambda: heard, 10.0) and heard[0].data == "word"
        assert not rclpy.ok(), "the default context was never started"


def test_a_wait_ends_with_its_time_or_when_it_is_stopped():
    with OwnNode("own_c", free_domain()) as node:
        assert not node.wait(lambda: False, 0.1)
        assert node.wait(lambda: False, 60.0, lambda: True)
