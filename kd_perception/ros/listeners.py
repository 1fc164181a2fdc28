"""Who listens to a publisher: its own count, and the graph's where that is larger.

FastDDS before 3.6.2 matches endpoints in several threads without a lock (cured by its pull request 6371): of two
subscriptions that match at the same moment one, or both, may be missing from the publisher's count for good, although
they receive everything.
"""

import time

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

SETTLE_S = 1.0  # the graph names a subscription a moment before it is matched


def has_listeners(node: Node, publisher: Publisher) -> bool:
    """Whether anybody may listen to a publisher of `node`."""
    return publisher.get_subscription_count() > 0 or node.count_subscribers(publisher.topic_name) > 0


class Listeners:
    """Counts the subscriptions of a node's publishers."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._more_since_s: dict[str, float] = {}  # topic -> since when the graph has had more than were matched

    def count(self, publisher: Publisher) -> int:
        """Matched subscriptions, or those that the graph has had for SETTLE_S and whose QoS fits, if they are more."""
        matched, topic = publisher.get_subscription_count(), publisher.topic_name
        if self._node.count_subscribers(topic) <= matched or (known := self._fitting(publisher)) <= matched:
            self._more_since_s.pop(topic, None)
            return matched
        now_s = time.monotonic()
        return known if now_s - self._more_since_s.setdefault(topic, now_s) >= SETTLE_S else matched

    def _fitting(self, publisher: Publisher) -> int:
        """Subscriptions in the graph that the publisher's QoS does not exclude."""
        offered = _plain(publisher.qos_profile)
        known = self._node.get_subscriptions_info_by_topic(publisher.topic_name)
        verdicts = [qos_check_compatible(offered, _plain(each.qos_profile))[0] for each in known]
        return sum(verdict != QoSCompatibility.ERROR for verdict in verdicts)


def _plain(qos: QoSProfile) -> QoSProfile:
    """Without deadline and liveliness: the graph says "infinite" where we say "default", which do not compare."""
    return QoSProfile(depth=1, reliability=qos.reliability, durability=qos.durability)
