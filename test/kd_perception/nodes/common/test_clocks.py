"""Clocks that tell no time, or another: warned of, and never subtracted."""

import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from support.domains import free_domain
from support.graph import Peer

from kd_perception.nodes.common.clocks import ClockWatch, latency_ms

S = 1_000_000_000
T0 = 1_700_000_000 * S


@pytest.mark.parametrize(
    ("now_ns", "expected"),
    [(T0 + S // 4, 250.0), (T0 - S // 100, -10.0), (T0 + 50 * S, 50_000.0), (0, None), (T0 + 61 * S, None)],
)
def test_a_latency_is_between_times_of_one_clock(now_ns, expected):
    assert latency_ms(now_ns, T0) == expected


@pytest.fixture
def sim_time_node():
    context = Context()
    context.init(domain_id=free_domain())
    overrides = [Parameter("use_sim_time", value=True)]
    node = rclpy.create_node("follower", context=context, parameter_overrides=overrides)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_sim_time_without_a_clock_is_told_with_the_seconds_until_it_comes(sim_time_node):
    watch, clock = ClockWatch(), sim_time_node.get_clock()
    assert [watch.missing(clock, at_s) for at_s in (100.0, 102.0)] == ["", ""]
    assert "no /clock has come for 5 s; start the simulation" in watch.missing(clock, 105.0)
    with Peer(sim_time_node.context.get_domain_id()) as peer:
        publisher = peer.node.create_publisher(Clock, "/clock", 10)
        message = Clock()
        message.clock.sec = 5

        def told() -> bool:
            publisher.publish(message)
            rclpy.spin_once(sim_time_node, executor=executor, timeout_sec=0.05)
            return clock.now().nanoseconds > 0

        executor = rclpy.executors.SingleThreadedExecutor(context=sim_time_node.context)
        peer.until(told)
    assert watch.missing(clock, 200.0) == "" == watch.missing(clock, 300.0)


def test_the_systems_time_is_never_missed(sim_time_node):
    watch = ClockWatch()
    sim_time_node.set_parameters([Parameter("use_sim_time", value=False)])
    assert not any(watch.missing(sim_time_node.get_clock(), at_s) for at_s in (0.0, 100.0))
