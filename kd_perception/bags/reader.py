"""Reads rosbag2 bags (MCAP or sqlite3, folder or file), messages untouched; of a damaged bag what can be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader

from kd_perception.bags.salvage import salvaged_messages, salvaged_topics
from kd_perception.errors import DataError

STORAGE_SUFFIXES = (".mcap", ".db3")


@dataclass(frozen=True)
class Topic:
    """A recorded topic: name, type ('sensor_msgs/msg/Image'), message count, whether late subscribers get it too."""

    name: str
    type_name: str
    count: int
    latched: bool


class BagReader:
    """A bag opened for reading, and `damage`: '' or a sentence, which may only become known while messages are read."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if there is no bag or nothing in it can be read."""
        self.path = Path(path)
        if not self.path.exists():
            raise DataError(f"bag {self.path} does not exist; give a rosbag2 folder or its .mcap or .db3 file")
        self.damage = ""
        self._readers: list[Reader] = []
        self._salvaged: list[Path] = []
        try:
            self._readers = [_open(self.path)]
        except Exception as error:  # storage libraries have their own types
            self._open_files(error)
        self.topics = self._topics()
        if not self.topics:
            self.close()
            raise DataError(
                f"bag {self.path} is empty or damaged from its start; record it again or restore it from a copy"
            )

    @property
    def message_count(self) -> int:
        """Messages that can be expected."""
        return sum(topic.count for topic in self.topics)

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """(topic, recording time in ns, CDR bytes) in order; ends early, with `damage` set, where data breaks off."""
        try:
            for reader in self._readers:
                for connection, stamp_ns, data in reader.messages():
                    yield connection.topic, stamp_ns, bytes(data)
            for path in self._salvaged:
                yield from salvaged_messages(path)
        except Exception as error:
            self.damage = f"bag {self.path} is damaged ({_reason(error)}); what could be read until there was played"

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    def _open_files(self, error: Exception) -> None:
        """Without a usable index: storage file by storage file, whole ones by theirs, cut ones front to back."""
        files = (
            [self.path]
            if self.path.is_file()
            else sorted(p for p in self.path.iterdir() if p.suffix in STORAGE_SUFFIXES)
        )
        if not files:
            raise DataError(f"{self.path} holds no .mcap or .db3 file; give a rosbag2 folder") from error
        self.damage = (
            f"bag {self.path} is damaged or was not closed ({_reason(error)}); what can be read of it is played"
        )
        for path in files:
            try:
                self._readers.append(_open(path))
            except Exception:
                self._salvaged.append(path)

    def _topics(self) -> tuple[Topic, ...]:
        found: dict[str, Topic] = {}
        for reader in self._readers:
            for connection in reader.connections:
                latched = any(
                    qos.durability == QosDurability.TRANSIENT_LOCAL for qos in connection.ext.offered_qos_profiles
                )
                _add(
                    found,
                    Topic(
                        connection.topic,
                        connection.msgtype,
                        connection.msgcount,
                        latched or connection.topic == "/tf_static",
                    ),
                )
        for path in self._salvaged:
            for name, type_name, count in salvaged_topics(path):
                _add(found, Topic(name, type_name, count, name == "/tf_static"))
        return tuple(found.values())


def _open(path: Path) -> Reader:
    reader = Reader(path)
    reader.open()
    return reader


def _add(found: dict[str, Topic], topic: Topic) -> None:
    """Merge what several files report on a topic."""
    before = found.get(topic.name)
    count = topic.count + (before.count if before else 0)
    found[topic.name] = Topic(
        topic.name, topic.type_name, count, topic.latched or (before is not None and before.latched)
    )


def _reason(error: Exception) -> str:
    """The error's text as part of a sentence."""
    return (str(error) or type(error).__name__).rstrip(".")
