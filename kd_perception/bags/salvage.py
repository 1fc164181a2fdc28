"""What can be read of a bag file that is cut: the recorder was killed, the disk was full, a copy broke off.

MCAP without its footer is read front to back. A cut sqlite3 file keeps its schema in the first page, and its rows up to
the first page that is missing.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader


def salvaged_topics(path: Path) -> list[tuple[str, str, int]]:
    """(name, type, messages) of the topics in the readable part of an .mcap or .db3 file; empty if there is none."""
    return _mcap_topics(path) if path.suffix == ".mcap" else _sqlite_topics(path)


def salvaged_messages(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """(topic, recording time in ns, CDR bytes) in the order of recording, up to where the file breaks."""
    return _mcap_messages(path) if path.suffix == ".mcap" else _sqlite_messages(path)


def _mcap_topics(path: Path) -> list[tuple[str, str, int]]:
    schemas: dict[int, str] = {}
    channels: dict[int, Channel] = {}
    counts: Counter[int] = Counter()
    for record in _mcap_records(path):
        if isinstance(record, Schema):
            schemas[record.id] = record.name
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            counts[record.channel_id] += 1
    return [(channel.topic, schemas.get(channel.schema_id, ""), counts[id_]) for id_, channel in channels.items()]


def _mcap_messages(path: Path) -> Iterator[tuple[str, int, bytes]]:
    topics: dict[int, str] = {}
    for record in _mcap_records(path):
        if isinstance(record, Channel):
            topics[record.id] = record.topic
        elif isinstance(record, Message):
            yield topics[record.channel_id], record.log_time, record.data


def _mcap_records(path: Path) -> Iterator[object]:
    with open(path, "rb") as stream:
        records = iter(StreamReader(stream).records)
        while True:
            try:
                yield next(records)
            except Exception:  # the end, or a cut record; decompressors raise their own types on a cut chunk
                return


def _sqlite_topics(path: Path) -> list[tuple[str, str, int]]:
    topics = {name: [type_name, 0] for _, name, type_name in _sqlite_rows(path, "SELECT id, name, type FROM topics")}
    for name, _, _ in _sqlite_messages(path):
        topics[name][1] += 1
    return [(name, type_name, count) for name, (type_name, count) in topics.items()]


def _sqlite_messages(path: Path) -> Iterator[tuple[str, int, bytes]]:
    topics = dict(_sqlite_rows(path, "SELECT id, name FROM topics"))
    for id_, stamp_ns, data in _sqlite_rows(path, "SELECT topic_id, timestamp, data FROM messages ORDER BY rowid"):
        if id_ in topics:
            yield topics[id_], stamp_ns, data


def _sqlite_rows(path: Path, query: str) -> Iterator[tuple]:
    """Rows of a query, up to the first that cannot be read."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        try:
            database.execute("PRAGMA writable_schema = ON")  # else SQLite opens no file shorter than its header says
            yield from database.execute(query)
        except sqlite3.Error:
            return
