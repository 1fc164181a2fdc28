"""Reads a sqlite3 storage file in order of time; of a cut one the rows up to the first page that is missing.

A cut file keeps its schema in the first page. A killed recorder may leave rows in a write-ahead log next to it.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from kd_perception.bags.channel import Channel, is_latched

_TOPICS = "SELECT id, name, type, serialization_format FROM topics"
_QOS = "SELECT id, offered_qos_profiles FROM topics"  # a column that the first versions lack
_IN_ORDER = "SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp, rowid"
_AS_STORED = "SELECT topic_id, timestamp, data FROM messages ORDER BY rowid"
_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter where a message quotes a damaged schema


class SqliteFile:
    """A StorageFile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage = ""
        try:
            topics = list(self._rows(_TOPICS))
            counts = dict(self._rows("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        except _ERRORS as error:
            self.damage = str(error)
            topics = list(self._readable(_TOPICS))
            counts = Counter(id_ for id_, _, _ in self._readable(_AS_STORED))
        qos = dict(self._readable(_QOS))
        self.channels = tuple(
            Channel(
                id=id_,
                topic=str(topic),
                type_name=str(type_name),
                encoding=str(encoding).lower(),
                count=counts.get(id_, 0),
                latched=is_latched(topic, qos.get(id_)),
            )
            for id_, topic, type_name, encoding in topics
        )

    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(channel id, recording time in ns, bytes) in order of time; as stored where the file is damaged."""
        rows = self._readable(_AS_STORED) if self.damage else self._rows(_IN_ORDER)
        yield from (row for row in rows if isinstance(row[1], int) and isinstance(row[2], bytes))

    def _open(self, *, whole: bool = True) -> sqlite3.Connection:
        log = self._path.with_name(self._path.name + "-wal")
        logged = whole and log.is_file() and log.stat().st_size > 0
        fixed = "" if logged else "&immutable=1"  # else SQLite wants to write next to the file
        database = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro{fixed}", uri=True)
        database.text_factory = lambda text: text.decode(errors="replace")  # of a damaged row
        if not whole:
            database.execute("PRAGMA writable_schema = ON")  # else SQLite opens no file shorter than its header says
        return database

    def _rows(self, query: str, *, whole: bool = True) -> Iterator[tuple]:
        with closing(self._open(whole=whole)) as database:
            yield from database.execute(query)

    def _readable(self, query: str) -> Iterator[tuple]:
        """Rows of a query, up to the first that cannot be read."""
        try:
            yield from self._rows(query, whole=False)
        except _ERRORS:
            return
