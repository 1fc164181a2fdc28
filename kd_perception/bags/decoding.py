"""Which recorded messages are ROS 2 messages in CDR, and how they become that where each is compressed by itself."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import zstandard

from kd_perception.bags.channel import Channel
from kd_perception.bags.parts import ZSTD_MAGIC

_SHORT_TYPE = re.compile(r"([a-zA-Z]\w*)/([a-zA-Z]\w*)")  # 'sensor_msgs/Image', as some recorders write it
_CDR_ENCODINGS = ("cdr", "")  # unnamed: the messages themselves decide
_CDR_KINDS = 0x0C  # encapsulation identifiers of CDR and XCDR are below (DDS-XTypes 7.6.3.1.2)
_REMEDIES = {"ros1": "convert the ROS 1 recording with rosbags-convert"}
_REMEDY = "record it with 'ros2 bag record', or convert it to CDR"


def decodable(channels: Iterable[Channel], path: Path, types: Mapping[str, str]) -> tuple[list[Channel], list[str]]:
    """The channels whose messages are ROS 2 messages, with full type names, and sentences on those left out.

    `types`: topic -> type of what was read before. A topic has one type: further ones are left out.
    """
    types = dict(types)
    accepted: list[Channel] = []
    problems: list[str] = []
    foreign: dict[str, list[str]] = {}
    for channel in channels:
        name = _SHORT_TYPE.fullmatch(channel.type_name)
        channel = replace(channel, type_name=f"{name[1]}/msg/{name[2]}" if name else channel.type_name)
        if channel.encoding not in _CDR_ENCODINGS:
            foreign.setdefault(channel.encoding, []).append(channel.topic)
        elif types.setdefault(channel.topic, channel.type_name) != channel.type_name:
            problems.append(
                f"{path}: topic {channel.topic} is {types[channel.topic]} and also {channel.type_name}; the latter is "
                "left out: give each type its own topic"
            )
        else:
            accepted.append(channel)
    problems += [
        f"{path}: the messages on {', '.join(topics)} are encoded as '{encoding}', not as CDR, and are left out; "
        f"{_REMEDIES.get(encoding, _REMEDY)}"
        for encoding, topics in foreign.items()
    ]
    return accepted, problems


def to_cdr(data: bytes) -> bytes | None:
    """A message's CDR, unpacked if it is a zstd frame (no CDR begins like one); None if it is neither.

    Raises zstandard.ZstdError if the frame is damaged.
    """
    if data[:4] == ZSTD_MAGIC:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if len(data) < 4 or data[0] != 0 or data[1] >= _CDR_KINDS:
        return None
    return bytes(data)
