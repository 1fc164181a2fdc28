"""Reads a sqlite3 storage file in order of time; of a cut one the rows up to the first page that is missing.

A cut file keeps its schema in the first page. A killed recorder may leave rows in a write-ahead log next to it.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from kd_perception.bags.channel import Channel, is_latched

_IN_ORDER = "SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp, id"
_AS_STORED = "SELECT topic_id, timestamp, data FROM messages ORDER BY rowid"


class SqliteFile:
    """A StorageFile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage = ""
        try:
            with closing(self._open()) as database:
                topics = database.execute("SELECT * FROM topics").fetchall()
                counts = dict(database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        except sqlite3.Error as error:
            self.damage = str(error)
            topics = list(self._readable("SELECT * FROM topics"))
            counts = Counter(id_ for id_, _, _ in self._readable(_AS_STORED))
        self.channels = tuple(_channel(row, counts) for row in topics)

    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(channel id, recording time in ns, bytes) in order of time; as stored where the file is damaged."""
        if self.damage:
            yield from map(tuple, self._readable(_AS_STORED))
            return
        with closing(self._open()) as database:
            yield from map(tuple, database.execute(_IN_ORDER))

    def _open(self, *, whole: bool = True) -> sqlite3.Connection:
        log = self._path.with_name(self._path.name + "-wal")
        logged = whole and log.is_file() and log.stat().st_size > 0
        fixed = "" if logged else "&immutable=1"  # else SQLite wants to write next to the file
        database = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro{fixed}", uri=True)
        database.row_factory = sqlite3.Row
        if not whole:
            database.execute("PRAGMA writable_schema = ON")  # else SQLite opens no file shorter than its header says
        return database

    def _readable(self, query: str) -> Iterator[sqlite3.Row]:
        """Rows of a query, up to the first that cannot be read."""
        try:
            with closing(self._open(whole=False)) as database:
                yield from database.execute(query)
        except sqlite3.Error:
            return


def _channel(row: sqlite3.Row, counts: dict[int, int]) -> Channel:
    qos = row["offered_qos_profiles"] if "offered_qos_profiles" in row.keys() else None  # noqa: SIM118 - a Row has no `in`
    return Channel(
        id=row["id"],
        topic=row["name"],
        type_name=row["type"],
        encoding=row["serialization_format"].lower(),
        count=counts.get(row["id"], 0),
        latched=is_latched(row["name"], qos),
    )
