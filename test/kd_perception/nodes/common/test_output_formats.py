"""Which messages the detector can publish is known when it is configured."""

import sys

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: there are no nodes")

import vision_msgs.msg

from kd_perception.errors import ConfigError
from kd_perception.nodes.common.output_formats import chosen_formats
from kd_perception.ros import live


@pytest.fixture
def other_installations():
    """Message classes are looked up again, before and after."""
    live._class_of.cache_clear()
    yield
    live._class_of.cache_clear()


def test_formats_are_published_in_the_order_of_their_names_and_once():
    assert list(chosen_formats(("autoware", "kd", "autoware"))) == ["kd", "autoware"]


def test_no_format_is_refused():
    with pytest.raises(ConfigError, match="output_messages is empty, but must be one or more of kd, vision, autoware"):
        chosen_formats(())


def test_a_format_whose_package_is_not_installed_is_refused_by_name(monkeypatch, other_installations):
    monkeypatch.setitem(sys.modules, "autoware_perception_msgs.msg", None)
    assert list(chosen_formats(("kd", "vision"))) == ["kd", "vision"]
    with pytest.raises(ConfigError, match="'autoware', but autoware_perception_msgs is not installed; install ros-"):
        chosen_formats(("kd", "autoware"))


def test_a_package_of_another_version_is_refused_by_name(monkeypatch, other_installations):
    monkeypatch.setattr(vision_msgs.msg, "ObjectHypothesis", vision_msgs.msg.BoundingBox3D)  # other fields
    with pytest.raises(
        ConfigError, match="'vision', but the installed vision_msgs/msg/ObjectHypothesis has no field class_id, score"
    ):
        chosen_formats(("vision",))
