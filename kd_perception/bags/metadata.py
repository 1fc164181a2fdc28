"""What metadata.yaml says of a bag. The storage files decide what is read; it gives their order and what to expect."""

from dataclasses import dataclass, field
from pathlib import Path, PurePath

import yaml

from kd_perception.bags.channel import is_latched
from kd_perception.errors import DataError

METADATA = "metadata.yaml"


@dataclass(frozen=True)
class BagMetadata:
    """files: names of the parts in order; counts: messages by topic; latched: topics with transient_local QoS.

    compression: format of what is compressed message by message or file by file, '' where nothing is.
    """

    files: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    latched: frozenset[str] = frozenset()
    compression: str = ""


def read_metadata(folder: Path) -> BagMetadata:
    """Raises DataError with the reason, as a part of a sentence, if there is no readable metadata.yaml."""
    try:
        content = yaml.safe_load((folder / METADATA).read_text())["rosbag2_bagfile_information"]
        topics = [(row["topic_metadata"], row["message_count"]) for row in content["topics_with_message_count"]]
        counts: dict[str, int] = {}
        for topic, count in topics:
            counts[topic["name"]] = counts.get(topic["name"], 0) + int(count)
        mode = str(content.get("compression_mode") or "none").lower()
        return BagMetadata(
            files=tuple(PurePath(name).name for name in content["relative_file_paths"]),
            counts=counts,
            latched=frozenset(t["name"] for t, _ in topics if is_latched(t["name"], t.get("offered_qos_profiles"))),
            compression="" if mode == "none" else str(content.get("compression_format") or ""),
        )
    except FileNotFoundError as error:
        raise DataError(f"it has no {METADATA}") from error
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"its {METADATA} cannot be read: {type(error).__name__}") from error
