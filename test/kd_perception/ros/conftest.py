"""tf for tests: one node, and tf2_ros or its stand-in."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from support import tf2_standin
from support.domains import free_domain


@pytest.fixture
def tf2_ros(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The real module where ROS 2 is installed, else the stand-in in its place."""
    if find_spec("tf2_ros") is None:
        monkeypatch.setitem(sys.modules, "tf2_ros", tf2_standin)
    import tf2_ros

    return tf2_ros


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    context.init(domain_id=free_domain())
    node = rclpy.create_node("listener", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()
