"""A few messages as one MCAP file, made in memory: its size is known before the disk sees a byte.

The file follows MCAP's profile `ros2` (message_encoding cdr, schema ros2msg, offered_qos_profiles of each channel).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import yaml
from mcap.reader import make_reader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2.metadata import dump_qos_v9

from kd_perception.bags.channel import is_latched
from kd_perception.bags.messages import typestore
from kd_perception.bags.writer import recorded_qos
from kd_perception.errors import DataError


@dataclass(frozen=True)
class RecordedMessage:
    """A serialised message as it was received, at `received_ns` of the recorder's clock."""

    topic: str
    type_name: str
    cdr: bytes
    received_ns: int
    latched: bool = False


@dataclass(frozen=True)
class FilePart:
    """What metadata.yaml says of one file: recording times in ns; counts: messages by topic; types: by topic."""

    name: str
    first_ns: int
    last_ns: int
    counts: dict[str, int]
    types: dict[str, str]
    latched: frozenset[str]


def mcap_bytes(messages: Sequence[RecordedMessage]) -> bytes:
    """The content of an MCAP file of these messages, in order of time.

    Nothing is compressed: most of it is JPEGs, and a robot's processor has other work. Raises DataError for a type
    whose definition is not installed.
    """
    stream = BytesIO()
    writer = McapWriter(stream, compression=CompressionType.NONE)
    writer.start(profile="ros2", library="kd_perception")
    schemas: dict[str, int] = {}
    channels: dict[str, int] = {}
    for message in sorted(messages, key=lambda message: message.received_ns):
        if message.type_name not in schemas:
            schemas[message.type_name] = writer.register_schema(
                message.type_name, "ros2msg", _definition(message.type_name).encode()
            )
        if message.topic not in channels:
            channels[message.topic] = writer.register_channel(
                message.topic,
                "cdr",
                schemas[message.type_name],
                {"offered_qos_profiles": _qos_text(latched=message.latched)},
            )
        at_ns = message.received_ns
        writer.add_message(channels[message.topic], at_ns, message.cdr, at_ns)
    writer.finish()
    return stream.getvalue()


def part_of(name: str, messages: Sequence[RecordedMessage]) -> FilePart:
    """What `read_part` says of the file `name` of these messages, of which there is at least one."""
    times = [message.received_ns for message in messages]
    types = {message.topic: message.type_name for message in messages}
    latched = frozenset(message.topic for message in messages if message.latched)
    counts = dict(Counter(message.topic for message in messages))
    return FilePart(name, min(times), max(times), counts, types, latched)


def read_part(path: Path) -> FilePart:
    """What a whole MCAP file holds, by its summary; raises DataError if it is cut or foreign, OSError if unreadable."""
    try:
        with open(path, "rb") as stream:
            summary = make_reader(stream).get_summary()
    except OSError:
        raise
    except Exception as error:  # a cut file has any bytes at its end: the library, struct and codecs have own types
        raise DataError(f"{path} cannot be read as MCAP ({error}); restore it from a copy or remove it") from error
    if summary is None or summary.statistics is None or not summary.statistics.message_count:
        raise DataError(f"{path} is cut or empty; restore it from a copy or remove it")
    statistics, channels = summary.statistics, summary.channels
    counts = {channel.topic: statistics.channel_message_counts.get(id_, 0) for id_, channel in channels.items()}
    types = {channel.topic: summary.schemas[channel.schema_id].name for channel in channels.values()}
    latched = frozenset(
        channel.topic
        for channel in channels.values()
        if is_latched(channel.topic, channel.metadata.get("offered_qos_profiles"))
    )
    return FilePart(path.name, statistics.message_start_time, statistics.message_end_time, counts, types, latched)


def qos_profiles(*, latched: bool) -> list:
    """A topic's QoS as metadata.yaml states it since version 9."""
    return dump_qos_v9([recorded_qos(latched=latched)])


@cache
def _qos_text(*, latched: bool) -> str:
    return yaml.safe_dump(qos_profiles(latched=latched), sort_keys=False)


@cache
def _definition(type_name: str) -> str:
    store = typestore()
    if type_name not in store.fielddefs:
        raise DataError(f"message type '{type_name}' is not installed; install {type_name.partition('/')[0]}")
    return store.generate_msgdef(type_name, ros_version=2)[0]
