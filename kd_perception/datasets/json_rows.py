"""Rows of a JSON table without the table in memory: where each row lies is known, and it is decoded when asked for."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kd_perception.datasets.token_hashes import token_hash

KEPT_BYTES = 1 << 24  # a table up to this size stays in memory


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
        return self._completed(number, self._stored(number))

    def number(self, token: str) -> int:
        """The number of the row of a token; raises KeyError without one. The last counts, as in the devkit."""
        return self._found(token)[0]

    def of_token(self, token: str) -> dict:
        """The row of a token; raises KeyError as `number` does."""
        return self._completed(*self._found(token))

    def _found(self, token: str) -> tuple[int, dict]:
        for number in self.candidates(token)[::-1].tolist():
            row = self._stored(number)
            if row["token"] == token:
                return number, row
        raise KeyError(token)

    def _completed(self, number: int, row: dict) -> dict:
        return row if self._complete is None else self._complete(number, row)

    def candidates(self, token: str) -> np.ndarray:
        """Numbers (n,) of the rows whose token has the same hash, in table order."""
        wanted, hashes = np.uint64(token_hash(token)), self.places["hash"]
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
        return self._rows.of_token(token)

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
