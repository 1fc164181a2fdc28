"""Which of rclpy's executors runs a node's callbacks."""

from rclpy.executors import Executor, SingleThreadedExecutor

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # before ROS 2 Kilted
    EventsExecutor = None


def executor_of_many_messages() -> Executor:
    """For nodes that receive many messages and do little with each: the others look through all subscriptions for each.

    Of rclpy's executors, only this one is told which has a message. It is experimental there and takes no guard
    conditions; the camera detector does without it. An older rclpy has the usual one.
    """
    return SingleThreadedExecutor() if EventsExecutor is None else EventsExecutor()
