"""A ledger: a file of JSON lines, one for every finished run. Its runs are never repeated."""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from kd_perception.atomic import write_bytes
from kd_perception.errors import DataError


class Keyed(Protocol):
    """A dataclass of plain values; `key` names its line."""

    __dataclass_fields__: dict
    key: str


Line = TypeVar("Line", bound=Keyed)


class Ledger(NamedTuple, Generic[Line]):
    """A file's records, and its last line if a crash tore it, else an empty text."""

    records: tuple[Line, ...]
    torn: str = ""


@dataclass(frozen=True)
class LedgerFile(Generic[Line]):
    """A file whose lines are objects of the dataclass `record`; `command` is the one that writes it."""

    path: Path
    record: type[Line]
    command: str

    def read(self) -> Ledger[Line]:
        """The file's records; none if it does not exist.

        A last line that a crash tore is returned as `torn`. Raises DataError for any other line that is no record.
        """
        if not self.path.is_file():
            return Ledger(())
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")
        records: list[Line] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                records.append(self._parsed(line))
            except (ValueError, TypeError) as error:
                if number == len(lines):  # nothing ends it: it was being written
                    return Ledger(tuple(records), line)
                raise DataError(
                    f"{self.path}, line {number} is no record of {self.command} ({error}); remove the line, its run "
                    "will be repeated"
                ) from error
        return Ledger(tuple(records))

    def append(self, new: Sequence[Line]) -> None:
        """Add records with new keys, and drop a torn last line.

        The file is whole at every moment, and several processes may add to it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # the folder: the file itself is replaced
            records = self.read().records
            known = {record.key for record in records}
            merged = [*records, *(record for record in new if record.key not in known)]
            write_bytes(self.path, "".join(json.dumps(asdict(record)) + "\n" for record in merged).encode())
        finally:
            os.close(folder)

    def _parsed(self, line: str) -> Line:
        """Raises ValueError or TypeError for anything else than a record."""
        entries = json.loads(line)
        if not isinstance(entries, dict):
            raise ValueError("not a JSON object")
        lacking = [
            entry.name
            for entry in fields(self.record)
            if entry.name not in entries and entry.default is MISSING and entry.default_factory is MISSING
        ]
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        return self.record(**entries)
