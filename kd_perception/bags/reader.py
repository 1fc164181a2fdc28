"""Reads rosbag2 bags (MCAP or sqlite3, folder or file), messages untouched; of a damaged bag what can be read.

What cannot be read or decoded is named: a message is either given as CDR, or counted in a sentence of `problems`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kd_perception.bags.channel import StorageFile
from kd_perception.bags.decoding import decodable, to_cdr
from kd_perception.bags.metadata import BagMetadata, read_metadata
from kd_perception.bags.parts import list_parts, open_part
from kd_perception.errors import DataError

MOST_NAMED = 5  # topics in one sentence


@dataclass(frozen=True)
class Topic:
    """A recorded topic: name, type ('sensor_msgs/msg/Image'), message count, whether late subscribers get it too."""

    name: str
    type_name: str
    count: int
    latched: bool


@dataclass(frozen=True)
class _Part:
    """An opened storage file; topics: channel id -> name of those that are given."""

    path: Path
    file: StorageFile
    topics: dict[int, str]


class BagReader:
    """A bag opened for reading, its `topics`, and `problems`: sentences, some only known when messages were read."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if there is no bag or nothing in it can be read."""
        self.path = Path(path)
        if not self.path.exists():
            raise DataError(f"bag {self.path} does not exist; give a rosbag2 folder or its .mcap or .db3 file")
        self.problems: list[str] = []
        self._scratch = TemporaryDirectory(prefix="kd_bag_")
        self._topics: dict[str, Topic] = {}
        self._parts: list[_Part] = []
        try:
            self._metadata, paths = self._locate()
            for part in paths:
                self._open(part)
            self._refuse_unreadable()
        except BaseException:
            self.close()
            raise

    @property
    def topics(self) -> tuple[Topic, ...]:
        """The topics whose messages are given."""
        return tuple(self._topics.values())

    @property
    def message_count(self) -> int:
        """Messages that can be expected."""
        return sum(topic.count for topic in self._topics.values())

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """(topic, recording time in ns, CDR bytes) in order; a part ends early, with a problem, where it breaks off."""
        read: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        for part in self._parts:
            try:
                for channel, stamp_ns, data in part.file.messages():
                    if channel not in part.topics:
                        continue
                    name = part.topics[channel]
                    cdr = to_cdr(data)
                    if cdr is None:
                        refused[name] += 1
                    else:
                        read[name] += 1
                        yield name, stamp_ns, cdr
            except Exception as error:  # storage libraries and decompressors have their own types
                self._add_problem(
                    f"bag {self.path} is damaged ({part.path.name}: {_reason(error)}); what could be read until there "
                    "was played"
                )
        self._compare(read, refused)

    def close(self) -> None:
        """Remove what was unpacked."""
        self._scratch.cleanup()

    def _locate(self) -> tuple[BagMetadata, list[Path]]:
        if self.path.is_file():
            return BagMetadata(), [self.path]
        metadata = BagMetadata()
        try:
            metadata = read_metadata(self.path)
        except DataError as reason:
            self._add_problem(f"bag {self.path} is damaged or was not closed ({reason}); what can be read is played")
        if metadata.compression not in ("", "zstd"):
            raise DataError(
                f"bag {self.path} is compressed as '{metadata.compression}', which cannot be read here; "
                "convert it with 'ros2 bag convert'"
            )
        paths, problems = list_parts(self.path, metadata.files)
        for problem in problems:
            self._add_problem(problem)
        return metadata, paths

    def _open(self, path: Path) -> None:
        file = open_part(path, Path(self._scratch.name))
        if file.damage:
            self._add_problem(
                f"bag {self.path} is damaged or was not closed ({path.name}: {file.damage.rstrip('.')}); "
                f"what can be read of it is played, {sum(channel.count for channel in file.channels)} messages"
            )
        types = {topic.name: topic.type_name for topic in self._topics.values()}
        accepted, problems = decodable(file.channels, path, types)
        for problem in problems:
            self._add_problem(problem)
        for channel in accepted:
            latched = channel.latched or channel.topic in self._metadata.latched
            topic = self._topics.get(channel.topic, Topic(channel.topic, channel.type_name, 0, latched=False))
            self._topics[channel.topic] = replace(
                topic, count=topic.count + channel.count, latched=topic.latched or latched
            )
        self._parts.append(_Part(path, file, {channel.id: channel.topic for channel in accepted}))

    def _refuse_unreadable(self) -> None:
        if self._topics:
            return
        if any(part.file.channels for part in self._parts):  # all of them are refused, each in a sentence
            raise DataError(f"nothing in bag {self.path} can be read: {'; '.join(self.problems)}")
        raise DataError(
            f"bag {self.path} is empty or damaged from its start; record it again or restore it from a copy"
        )

    def _compare(self, read: Counter[str], refused: Counter[str]) -> None:
        """Report what was not given of what the files and metadata.yaml count."""
        for name, count in sorted(refused.items()):
            self._add_problem(
                f"bag {self.path}: {count} of {count + read[name]} messages on {name} are not CDR and were left out; "
                "record them with a standard ROS 2 middleware"
            )
        expected = {
            name: max(topic.count, self._metadata.counts.get(name, 0)) - refused[name]
            for name, topic in self._topics.items()
        }
        if not any(len(part.topics) < len(part.file.channels) for part in self._parts):  # else some are refused
            expected = self._metadata.counts | expected
        short = {name: count for name, count in expected.items() if read[name] < count}
        if short:
            named = ", ".join(f"{name} ({read[name]} of {short[name]})" for name in sorted(short)[:MOST_NAMED])
            more = f" and {len(short) - MOST_NAMED} more topics" if len(short) > MOST_NAMED else ""
            self._add_problem(
                f"bag {self.path}: {sum(read.values())} of {sum(expected.values())} recorded messages could be read, "
                f"too few on {named}{more}; restore it from a copy or record it again"
            )

    def _add_problem(self, sentence: str) -> None:
        if sentence not in self.problems:
            self.problems.append(sentence)


def _reason(error: Exception) -> str:
    """The error's text as part of a sentence."""
    return (str(error) or type(error).__name__).rstrip(".")
