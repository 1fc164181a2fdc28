"""What a storage file holds of one topic, and which topics late subscribers get too."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import yaml

LATCHED_TOPICS = ("/tf_static",)
_TRANSIENT_LOCAL = (1, "1", "transient_local")  # rosbag2 writes numbers up to version 8, names since


@dataclass(frozen=True)
class Channel:
    """A stream of messages in one file; `encoding` of the messages is 'cdr' for ROS 2, in lower case.

    type_name as the file has it; latched: whether its QoS is transient_local.
    """

    id: int
    topic: str
    type_name: str
    encoding: str
    count: int
    latched: bool


class StorageFile(Protocol):
    """One opened file; `damage`: '' or why it cannot be read to its end."""

    channels: tuple[Channel, ...]
    damage: str

    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(channel id, recording time in ns, bytes) in order; raises the storage library's error where it breaks."""


def is_latched(topic: str, qos: object) -> bool:
    """Whether a topic's QoS profiles, as recorded (YAML text or its content), are transient_local."""
    try:
        profiles = yaml.safe_load(qos) if isinstance(qos, str) else qos
    except yaml.YAMLError:  # the messages do not depend on it
        profiles = None
    durable = isinstance(profiles, list) and any(
        isinstance(profile, dict) and profile.get("durability") in _TRANSIENT_LOCAL for profile in profiles
    )
    return topic in LATCHED_TOPICS or durable
