"""A JSON table block by block: where its rows lie, and what is wanted of them.

Rows that are as they should be are decoded into a msgspec type, some twenty times as fast as into dicts. A block in
which one row is not is read by Python's decoder, which takes NaN, inner objects and braces, and names what is broken.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import WHITESPACE
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from kd_perception.errors import DataError

CHUNK = 1 << 22  # bytes of a table that are read at once; no row is longer
SPACE = b" \t\n\r"  # JSON's white space


@dataclass(frozen=True)
class RowBlock:
    """Successive rows of a table, at least one: start (n,) and length (n,) in bytes, and the rows.

    The rows are all of the wanted type, or all dicts (`typed` False).
    """

    start: np.ndarray
    length: np.ndarray
    rows: list[msgspec.Struct] | list[dict]
    typed: bool


def read_blocks(path: Path, row_type: type[msgspec.Struct]) -> Iterator[RowBlock]:
    """The blocks of a table, in order.

    Raises OSError, DataError for a file that is no list of rows, and ValueError for one that was cut.
    """
    decoder, at = msgspec.json.Decoder(list[row_type]), 0
    with open(path, "rb") as stream:
        while True:
            block = _typed_block(stream, at, decoder) or _block_of_dicts(_Text(stream, path, at))
            if block is None:
                return
            yield block
            at = int(block.start[-1] + block.length[-1])


def _typed_block(stream: BinaryIO, at: int, decoder: msgspec.json.Decoder) -> RowBlock | None:
    """The rows from byte `at` by msgspec; None unless all are of its type and each has one pair of braces.

    As many of either brace as there are rows leaves none for a string or an inner object: they are the rows' own.
    """
    stream.seek(at)
    chunk = stream.read(CHUNK)
    begin, end = chunk.find(b"{"), chunk.rfind(b"}") + 1
    if not 0 <= begin < end or chunk[:begin].strip(SPACE) != _mark_before(at):
        return None
    text = chunk[begin:end]
    try:
        if not text.isascii():
            text.decode()  # msgspec does not look into what it skips
        rows = decoder.decode(b"[" + text + b"]")
    except ValueError:  # msgspec's errors are, too
        return None
    characters = np.frombuffer(text, np.uint8)
    opened, closed = (np.flatnonzero(characters == ord(brace)) for brace in "{}")
    if not len(rows) == len(opened) == len(closed):
        return None
    return RowBlock(opened + (at + begin), (closed + 1 - opened).astype(np.int32), rows, typed=True)


def _block_of_dicts(text: "_Text") -> RowBlock | None:
    """About a chunk of rows as dicts, from where the text begins; None at the end of the list."""
    start, ends, rows, first = [], [], [], text.byte
    mark = _mark_before(first).decode()
    while text.byte - first < CHUNK and not (mark == "," and text.next() == "]"):
        text.skip(mark)
        if text.next() == "]" and mark == "[":
            break
        start.append(text.byte)
        rows.append(text.row())
        ends.append(text.byte)
        mark = ","
    if not rows:
        return None
    return RowBlock(np.array(start, np.int64), np.subtract(ends, start).astype(np.int32), rows, typed=False)


def _mark_before(at: int) -> bytes:
    """What stands before a row that follows on byte `at`: the beginning of the file, or another row."""
    return b"," if at else b"["


class _Text:
    """A position in a JSON file that is read piece by piece, and the byte that belongs to it."""

    def __init__(self, stream: BinaryIO, path: Path, at: int) -> None:
        self.path, self.byte = path, at
        stream.seek(at)
        self._stream, self._text, self._at = stream, "", 0
        self._characters = codecs.getincrementaldecoder("utf-8")()
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
        data = self._stream.read(CHUNK)
        self._text, self._at = self._text[self._at :] + self._characters.decode(data, final=not data), 0
        return bool(data)
