"""Nodes of one name: ROS lets them run side by side, where both answer, publish and take part in everything."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node

DISCOVERY_S = 0.6  # by then a new node mostly knows those that run
LATE_DISCOVERY_S = 3.5  # on a loaded machine DDS may lose an introduction; it repeats them every 3 s
LEASE_S = 25.0  # FastDDS lists a node that was killed for 20 s
POLL_S = 0.05


def nodes_called(full_name: str, node: "Node") -> int:
    """How many lifecycle nodes of this full name `node` knows of.

    Names of nodes and their services reach a participant on different ways; on a loaded machine one of them may come
    late or, for one node of several, not at all.
    """
    names = node.get_node_names_and_namespaces()
    named = sum(f"{namespace.rstrip('/')}/{name}" == full_name for name, namespace in names)
    return max(named, node.count_services(f"{full_name}/change_state"))


def sentence(full_name: str) -> str:
    """What is wrong when another node has this name."""
    return f"another node is called {full_name}; end it, or use another namespace or ROS_DOMAIN_ID"


def wait_until_alone(full_name: str, node: "Node", stop: Callable[[], bool], waiting: Callable[[str], None]) -> bool:
    """Whether no more than one node has this name; one that was killed may still be listed, and gets LEASE_S to go.

    `waiting` gets a sentence before the wait; ends early when `stop()` turns true.
    """
    if nodes_called(full_name, node) > 1:
        waiting(f"another node is called {full_name}; if it was killed, its name is free within {LEASE_S:.0f} s")
    deadline_s = time.monotonic() + LEASE_S
    while nodes_called(full_name, node) > 1:
        if stop() or time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True
