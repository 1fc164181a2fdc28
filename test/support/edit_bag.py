"""Copies of a bag with something changed, for tests of reports on broken recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd_perception.bags.messages import BAG, typestore
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.geometry.transforms import make_transform, quaternion_of

Message = Any
Change = Callable[[str, Message], tuple[str, Message] | None]


def edit_bag(source: Path, target: Path, change: Change) -> Path:
    """Write `target`: every message of `source` as `change(topic, message)` returns it, without those it drops."""
    reader = BagReader(source)
    types = {topic.name: topic.type_name for topic in reader.topics}
    with BagWriter(target) as writer:
        for topic, stamp_ns, data in reader.messages():
            changed = change(topic, typestore().deserialize_cdr(data, types[topic]))
            if changed is not None:
                writer.write(*changed, stamp_ns)
    reader.close()
    return target


def swap_topics(first: str, second: str) -> Change:
    """Exchange all topics that begin with `first` and `second`, whatever their type."""

    def change(topic: str, message: Message) -> tuple[str, Message]:
        for old, new in ((first, second), (second, first)):
            if topic.startswith(old + "/"):
                return new + topic.removeprefix(old), message
        return topic, message

    return change


def move_mountings(move: Callable[[str, np.ndarray], np.ndarray]) -> Change:
    """Replace base_link_from_child of every transform below base_link by `move(child, base_link_from_child)`."""

    def change(topic: str, message: Message) -> tuple[str, Message]:
        if topic == "/tf_static":
            for entry in message.transforms:
                if entry.header.frame_id == "base_link":
                    q, t = entry.transform.rotation, entry.transform.translation
                    given = make_transform(np.array([q.w, q.x, q.y, q.z]), np.array([t.x, t.y, t.z]))
                    moved = move(entry.child_frame_id, given)
                    t.x, t.y, t.z = map(float, moved[:3, 3])
                    q.w, q.x, q.y, q.z = map(float, quaternion_of(moved))
        return topic, message

    return change


def shift_stamps(topic_prefix: str, seconds: float) -> Change:
    """Move the header stamps of topics that begin with `topic_prefix`."""

    def change(topic: str, message: Message) -> tuple[str, Message]:
        if topic.startswith(topic_prefix + "/"):
            stamp = message.header.stamp
            message.header = BAG.header(stamp.sec * 10**9 + stamp.nanosec + int(seconds * 1e9), message.header.frame_id)
        return topic, message

    return change
