"""The RViz configuration as RViz reads it, with the names of its source (ros2/rviz)."""

import re
import struct
from typing import TYPE_CHECKING

import yaml

from support.checkout import ROOT

if TYPE_CHECKING:
    from support.graph import Peer  # needs ROS

CONFIG = yaml.safe_load((ROOT / "config" / "rviz" / "bev_student.rviz").read_text())
DISPLAYS = CONFIG["Visualization Manager"]["Displays"]
TYPES = {  # displays of rviz_default_plugins/plugins_description.xml that are used, and what they subscribe to
    "rviz_default_plugins/Grid": None,
    "rviz_default_plugins/TF": None,
    "rviz_default_plugins/PointCloud2": "sensor_msgs/msg/PointCloud2",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
}


def docks() -> dict[str, bool]:
    """Whether each dock of the window's state is shown, by its name: what QMainWindow.saveState writes of a dock.

    That is a marker 0xfb, the name's length in bytes, the name in UTF-16 and the flags, of which bit 0 is 'visible'.
    """
    state = bytes.fromhex(CONFIG["Window Geometry"]["QMainWindow State"])
    found = {}
    for match in re.finditer(rb"\xfb", state):
        (length,) = struct.unpack_from(">I", state, match.end())
        name = state[match.end() + 4 :][:length].decode("utf-16-be")
        found[name] = bool(state[match.end() + 4 + length] & 1)
    return found


def assert_published(peer: "Peer", display: dict) -> None:
    """What a display of the RViz configuration subscribes to is there, and reaches it."""
    from rclpy.qos import (
        DurabilityPolicy,
        LivelinessPolicy,
        QoSCompatibility,
        QoSProfile,
        ReliabilityPolicy,
        qos_check_compatible,
    )

    topic, kind = display["Topic"], TYPES[display["Class"]]
    wanted = QoSProfile(
        depth=topic["Depth"],
        liveliness=LivelinessPolicy.AUTOMATIC,
        reliability=ReliabilityPolicy[topic["Reliability Policy"].upper().replace(" ", "_")],
        durability=DurabilityPolicy[topic["Durability Policy"].upper().replace(" ", "_")],
    )
    publishers = peer.until(lambda: peer.node.get_publishers_info_by_topic(topic["Value"]), 20.0)
    for publisher in publishers:
        assert publisher.topic_type == kind, display["Name"]
        compatibility, reason = qos_check_compatible(publisher.qos_profile, wanted)
        assert compatibility == QoSCompatibility.OK, f"{display['Name']}: {reason}"
