"""metadata.yaml of a rosbag2 that consists of many MCAP files (rosbag2_storage's BagMetadata, version 9)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import yaml

from kd_perception.bags.frame_file import FilePart, qos_profiles
from kd_perception.bags.messages import typestore
from kd_perception.bags.writer import BAG_VERSION

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # several times quicker, where PyYAML has libyaml


def metadata_text(parts: Sequence[FilePart], custom: Mapping[str, str]) -> str:
    """The text of metadata.yaml: parts in order of time, and `custom` for rosbag2's custom_data."""
    parts = sorted(parts, key=lambda part: part.first_ns)
    counts: Counter[str] = Counter()
    types: dict[str, str] = {}
    for part in parts:
        counts.update(part.counts)
        types |= part.types
    latched = frozenset().union(*(part.latched for part in parts))
    start = min((part.first_ns for part in parts), default=0)
    end = max((part.last_ns for part in parts), default=0)
    head = {
        "version": BAG_VERSION,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": end - start},
        "starting_time": {"nanoseconds_since_epoch": start},
        "message_count": sum(counts.values()),
        "topics_with_message_count": [
            _topic(name, types[name], count, latched=name in latched) for name, count in sorted(counts.items())
        ],
        "compression_format": "",
        "compression_mode": "",
        "custom_data": dict(custom),
        "ros_distro": "",
    }
    body = yaml.dump({"rosbag2_bagfile_information": head}, Dumper=_DUMPER, sort_keys=False)
    return (
        body
        + _listed("relative_file_paths", [f"    - {part.name}\n" for part in parts])
        + _listed("files", list(map(_file, parts)))
    )


def _topic(name: str, type_name: str, count: int, *, latched: bool) -> dict:
    return {
        "topic_metadata": {
            "name": name,
            "type": type_name,
            "serialization_format": "cdr",
            "offered_qos_profiles": qos_profiles(latched=latched),
            "type_description_hash": _type_hash(type_name),
        },
        "message_count": count,
    }


@cache
def _type_hash(type_name: str) -> str:
    return typestore().hash_rihs01(type_name)


def _listed(key: str, items: Sequence[str]) -> str:
    """A list below the head. Written by hand: YAML's own writer takes seconds for thousands of files."""
    return f"  {key}:\n{''.join(items)}" if items else f"  {key}: []\n"


def _file(part: FilePart) -> str:
    return (
        f"    - path: {part.name}\n"
        f"      starting_time:\n        nanoseconds_since_epoch: {part.first_ns}\n"
        f"      duration:\n        nanoseconds: {part.last_ns - part.first_ns}\n"
        f"      message_count: {sum(part.counts.values())}\n"
    )
