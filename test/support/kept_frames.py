"""Small frames for tests of the recording folder: real messages, made without ROS."""

import numpy as np

from kd_perception.bags import messages
from kd_perception.bags.frame_file import FilePart, RecordedMessage, mcap_bytes, part_of
from kd_perception.bags.messages import BAG, Message, typestore
from kd_perception.continual.recording import KeptFrame, frame_name

S = 1_000_000_000
T0 = 1_700_000_000 * S


def recorded(topic: str, message: Message, received_ns: int) -> RecordedMessage:
    """A message of rosbags' type store as the recorder holds it."""
    kind = message.__msgtype__
    cdr = bytes(typestore().serialize_cdr(message, kind))
    return RecordedMessage(topic, kind, cdr, received_ns, latched=topic == "/tf_static")


def frame_messages(stamp_ns: int, size: int = 2000) -> list[RecordedMessage]:
    """A camera's image of `size` bytes, transforms and a small cloud around a stamp."""
    pixels = np.random.default_rng(stamp_ns % 1000).bytes(size)
    mounting = [("base_link", "front", np.eye(4)), ("base_link", "lidar", np.eye(4))]
    return [
        recorded("/tf_static", messages.tf(stamp_ns, mounting), stamp_ns - 1),
        recorded("/tf", messages.tf(stamp_ns, [("odom", "base_link", np.eye(4))]), stamp_ns),
        recorded("/front/image/compressed", BAG.compressed_image(stamp_ns, "front", pixels, "jpeg"), stamp_ns + 1),
        recorded("/lidar/points", messages.point_cloud(stamp_ns, "lidar", np.ones((4, 5))), stamp_ns + 2),
    ]


def small_frame(
    number: int, *, importance: float = 1.0, kind: str = "car", size: int = 2000
) -> tuple[KeptFrame, FilePart, bytes]:
    """What RecordingFolder.keep takes, for the frame of second `number`."""
    stamp_ns = T0 + number * S
    made = frame_messages(stamp_ns, size)
    content, name = mcap_bytes(made), frame_name(stamp_ns)
    frame = KeptFrame(
        stamp_ns, name, len(content), importance, 1.0, {"missed": 1}, {kind: 1}, {kind: importance}, "a test keeps it"
    )
    return frame, part_of(name, made), content
