"""Publishing from threads: a signal may end the middleware between any two lines."""

from rclpy.node import Node
from rclpy.publisher import Publisher


def publish(node: Node, publisher: Publisher, message: object) -> None:
    """Publish a message, or serialised bytes; does nothing once the node's context has ended."""
    try:
        publisher.publish(message)
    except RuntimeError:  # rclpy's RCLError: the context or the publisher is gone
        if node.context.ok():
            raise
