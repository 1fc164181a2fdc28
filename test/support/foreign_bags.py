"""Bags as other recorders leave them: MCAP records chosen freely, parts, packed files, ROS 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from kd_perception.bags.messages import BAG, typestore

IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
TOPIC = "/front/image/compressed"


def image_cdr(stamp_ns: int, size: int = 100) -> bytes:
    """A serialised CompressedImage of noise."""
    data = np.random.default_rng(stamp_ns).bytes(size)
    return bytes(typestore().serialize_cdr(BAG.compressed_image(stamp_ns, "front", data, "jpeg"), IMAGE_TYPE))


@dataclass(frozen=True)
class McapStyle:
    """How a recorder writes: profile, encodings of messages and schemas, type name, chunks and their size, index."""

    profile: str = "ros2"
    encoding: str = "cdr"
    schema: str = "ros2msg"
    type_name: str = IMAGE_TYPE
    chunked: bool = True
    index: bool = True
    chunk_size: int = 1000


def write_mcap(path: Path, content: Sequence[tuple[str, int, bytes]], style: McapStyle = McapStyle()) -> Path:
    """Write (topic, recording time in ns, bytes) in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        writer = Writer(
            stream,
            chunk_size=style.chunk_size,
            compression=CompressionType.ZSTD,
            use_chunking=style.chunked,
            index_types=IndexType.ALL if style.index else IndexType.NONE,
            use_summary_offsets=style.index,
            use_statistics=style.index,
            repeat_channels=style.index,
            repeat_schemas=style.index,
        )
        writer.start(style.profile, "test")
        schema = writer.register_schema(style.type_name, style.schema, b"")
        topics = dict.fromkeys(topic for topic, _, _ in content)
        channels = {topic: writer.register_channel(topic, style.encoding, schema) for topic in topics}
        for topic, stamp_ns, data in content:
            writer.add_message(channels[topic], stamp_ns, data, stamp_ns)
        writer.finish()
    return path


def pack(path: Path, share: float = 1.0) -> Path:
    """Replace a file by its .zstd, of which only the first `share` was written."""
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(path.read_bytes())
    target = path.with_name(path.name + ".zstd")
    target.write_bytes(packed[: int(len(packed) * share)])
    path.unlink()
    return target


def write_ros1(path: Path, count: int = 3) -> Path:
    """A ROS 1 bag of CompressedImages."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    path.parent.mkdir(parents=True, exist_ok=True)
    with Ros1Writer(path) as bag:
        connection = bag.add_connection(TOPIC, IMAGE_TYPE, typestore=store)
        for second in range(1, count + 1):
            stamp = types["builtin_interfaces/msg/Time"](sec=second, nanosec=0)
            header = types["std_msgs/msg/Header"](seq=second, stamp=stamp, frame_id="front")
            image = types[IMAGE_TYPE](header=header, format="jpeg", data=np.arange(second, dtype=np.uint8))
            bag.write(connection, second * 10**9, store.serialize_ros1(image, IMAGE_TYPE))
    return path
