"""Rows of a JSON table without the table in memory: where each row lies is known, and it is decoded when asked for."""

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.decoder import WHITESPACE
from pathlib import Path
from typing import TextIO

import numpy as np

from kd_perception.errors import DataError

CHUNK = 1 << 22  # characters of a table that are read at once; no row is longer
KEPT_BYTES = 1 << 24  # a table up to this size stays in memory


def find_rows(path: Path) -> dict[str, np.ndarray]:
    """Places of a table's rows, as JsonRows has them; raises OSError, DataError for a file that is no list of rows, and
    ValueError for one that was cut."""
    starts, lengths, hashes = array("q"), array("q"), array("Q")
    for row, start, length in _scan(path):
        starts.append(start)
        lengths.append(length)
        hashes.append(_hash(str(row.get("token"))))
    hashed = np.array(hashes, np.uint64)
    order = np.argsort(hashed, kind="stable")
    return {
        "start": np.array(starts, np.int64),
        "length": np.array(lengths, np.int32),
        "hash": hashed[order],
        "order": order.astype(np.int32),
    }


def _scan(path: Path) -> Iterator[tuple[dict, int, int]]:
    """Each row of a table, with the byte where it starts and its length in bytes."""
    with open(path, encoding="utf-8", newline="") as stream:
        text, mark = _Text(stream, path), "["
        while not (mark == "," and text.next() == "]"):
            text.skip(mark)
            if text.next() == "]" and mark == "[":
                return
            start, mark = text.byte, ","
            row = text.row()
            yield row, start, text.byte - start


class _Text:
    """A position in a JSON file that is read piece by piece, and the byte that belongs to it."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self.path, self.byte = path, 0
        self._stream, self._text, self._at = stream, stream.read(CHUNK), 0
        self._decode = json.JSONDecoder().raw_decode

    def next(self) -> str:
        """Go to the next character that is no white space; '' at the end of the file."""
        while True:
            self._go(WHITESPACE.match(self._text, self._at).end())
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, mark: str) -> None:
        """Go behind a punctuation mark, which must be next."""
        found = self.next()
        if found != mark:
            raise DataError(f"{self.path} is not a list of rows ('{mark}' expected at byte {self.byte}); restore it")
        self._go(self._at + 1)

    def row(self) -> dict:
        """The object that starts here; go behind it."""
        while True:
            try:
                row, end = self._decode(self._text, self._at)
            except ValueError as error:
                if len(self._text) - self._at < CHUNK and self._more():
                    continue
                raise ValueError(f"{self.path}: the row at byte {self.byte} is cut or no JSON") from error
            if not isinstance(row, dict):
                raise DataError(f"{self.path} is not a list of rows (see byte {self.byte}); restore it")
            self._go(end)
            return row

    def _go(self, end: int) -> None:
        passed = end - self._at
        self.byte += passed if self._text.isascii() else len(self._text[self._at : end].encode())
        self._at = end

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        piece = self._stream.read(CHUNK)
        self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)


def _hash(token: str) -> int:
    """64 bits of a token, the same in every process."""
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "little")


class JsonRows(Sequence[dict]):
    """The rows of a table as dicts, a new one each time: what is written into one is lost.

    `places`: start (n,) and length (n,) in bytes; hash (n,) of the tokens, sorted; order (n,): the row of each hash.
    `complete` gets a row's number and the row, and returns it with what other tables say of it.
    """

    def __init__(
        self, path: Path, places: Mapping[str, np.ndarray], complete: Callable[[int, dict], dict] | None = None
    ) -> None:
        self.places, self._complete = places, complete
        self._file = _RowFile(path)

    def __len__(self) -> int:
        return len(self.places["start"])

    def __getitem__(self, number: int) -> dict:
        number = range(len(self))[number]
        row = self._stored(number)
        return row if self._complete is None else self._complete(number, row)

    def number(self, token: str) -> int:
        """The number of the row of a token; raises KeyError without one. The last counts, as in the devkit."""
        for number in self.candidates(token)[::-1]:
            if self._stored(int(number))["token"] == token:
                return int(number)
        raise KeyError(token)

    def candidates(self, token: str) -> np.ndarray:
        """Numbers (n,) of the rows whose token has the same hash, in table order."""
        wanted, hashes = np.uint64(_hash(token)), self.places["hash"]
        return self.places["order"][np.searchsorted(hashes, wanted) : np.searchsorted(hashes, wanted, "right")]

    def token(self, number: int) -> str:
        """The token of a row."""
        return self._stored(number)["token"]

    def _stored(self, number: int) -> dict:
        return json.loads(self._file.read(int(self.places["start"][number]), int(self.places["length"][number])))


class RowsByToken(Mapping[str, dict]):
    """The rows of a large table by token; whether a token is there is told by its hash alone."""

    def __init__(self, rows: JsonRows) -> None:
        self._rows = rows

    def __getitem__(self, token: str) -> dict:
        return self._rows[self._rows.number(token)]

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and len(self._rows.candidates(token)) > 0

    def __iter__(self) -> Iterator[str]:
        return (row["token"] for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class RowNumbers:
    """Numbers of rows by token, as the devkit looks them up."""

    def __init__(self, rows: JsonRows) -> None:
        self._rows = rows

    def __getitem__(self, token: str) -> int:
        return self._rows.number(token)


class _RowFile:
    """Bytes of a file by position: of a small one from memory, of a large one by reads that forked processes share."""

    def __init__(self, path: Path) -> None:
        small = path.stat().st_size <= KEPT_BYTES
        self._kept = path.read_bytes() if small else b""
        self._stream = None if small else open(path, "rb", buffering=0)  # noqa: SIM115, open as long as the rows

    def read(self, start: int, length: int) -> bytes:
        if self._stream is None:
            return self._kept[start : start + length]
        return os.pread(self._stream.fileno(), length, start)
