"""Files of the Point Cloud Library (.pcd, version 0.7): ascii, binary and binary_compressed.

Points are taken as they stand: like PCL's own loaders, the reader does not move them by VIEWPOINT.
"""

import io
from dataclasses import dataclass

import numpy as np

from kd_perception.errors import DataError

HEADS = (b"# .PCD", b"VERSION", b"FIELDS")  # how such a file begins; the comment may be absent
_TYPES = {"F": "f", "I": "i", "U": "u"}
_LONGEST_HEAD = 4096  # bytes
_RESTORE = "restore the file or write it again with PCL"


@dataclass(frozen=True)
class _Head:
    """Fields, numbers of each and their types; how many points there are, and the coding of what follows."""

    fields: tuple[str, ...]
    types: tuple[np.dtype, ...]
    counts: tuple[int, ...]
    points: int
    coding: str

    @property
    def row(self) -> np.dtype:
        """A point as 'binary' stores it."""
        named = zip(self.fields, self.types, self.counts, strict=True)
        return np.dtype([(f"{number} {name}", kind, (count,)) for number, (name, kind, count) in enumerate(named)])


def is_pcd(data: bytes) -> bool:
    """Whether a file's bytes begin as a .pcd does."""
    return data.lstrip()[:8].startswith(HEADS) if data[:1].isspace() else data.startswith(HEADS)


def read_pcd(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The first number of each field (N,), float64, by the field's name; raises DataError naming `where`."""
    head, body = _read_head(data, where)
    if head.coding == "ascii":
        return _ascii(head, body, where)
    if head.coding == "binary":
        return _binary(head, body, where)
    if head.coding == "binary_compressed":
        return _compressed(head, body, where)
    raise DataError(f"{where} has DATA {head.coding}; a .pcd is ascii, binary or binary_compressed, so {_RESTORE}")


def _read_head(data: bytes, where: str) -> tuple[_Head, bytes]:
    entries: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in entries:
        end = data.find(b"\n", start, _LONGEST_HEAD)
        if end < 0:
            raise DataError(f"the head of {where} ends before its line DATA; {_RESTORE}")
        key, *values = data[start:end].decode("ascii", "replace").split() or [""]
        entries[key] = values
        start = end + 1
    try:
        fields = tuple(entries["FIELDS"])
        kinds = zip(entries["TYPE"], entries["SIZE"], strict=True)
        points = entries.get("POINTS") or [str(int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0]))]
        head = _Head(
            fields=fields,
            types=tuple(np.dtype(f"<{_TYPES[kind]}{int(size)}") for kind, size in kinds),
            counts=tuple(int(count) for count in entries.get("COUNT", ["1"] * len(fields))),
            points=int(points[0]),
            coding=entries["DATA"][0],
        )
        if not len(head.fields) == len(head.types) == len(head.counts) or min(head.counts) < 1 or head.points < 0:
            raise ValueError("FIELDS, SIZE, TYPE, COUNT and POINTS do not fit together")
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise DataError(f"the head of {where} cannot be read ({error}); {_RESTORE}") from error
    return head, data[start:]


def _ascii(head: _Head, body: bytes, where: str) -> dict[str, np.ndarray]:
    if not head.points:
        return {name: np.zeros(0) for name in head.fields}
    try:
        rows = np.loadtxt(io.BytesIO(body), ndmin=2, max_rows=head.points)
    except ValueError as error:
        raise DataError(f"{where} holds no rows of numbers ({error}); {_RESTORE}") from error
    if rows.shape != (head.points, sum(head.counts)):
        raise DataError(
            f"{where} is truncated: its head announces {head.points} rows of {sum(head.counts)} numbers, it has "
            f"{rows.shape[0]} of {rows.shape[1]}; {_RESTORE}"
        )
    first = np.cumsum([0, *head.counts[:-1]])
    return {name: rows[:, column] for name, column in zip(head.fields, first, strict=True)}


def _binary(head: _Head, body: bytes, where: str) -> dict[str, np.ndarray]:
    _check_length(head, len(body), where)
    rows = np.frombuffer(body, head.row, head.points)
    return {
        name: rows[key][:, 0].astype(np.float64) for name, key in zip(head.fields, head.row.names or (), strict=True)
    }


def _compressed(head: _Head, body: bytes, where: str) -> dict[str, np.ndarray]:
    """Two lengths, then an LZF stream in which each field's numbers stand together."""
    if len(body) < 8:
        raise DataError(f"{where} is truncated after its head; {_RESTORE}")
    packed, unpacked = (int(value) for value in np.frombuffer(body, "<u4", 2))
    if len(body) < 8 + packed:
        raise DataError(f"{where} is truncated: {len(body) - 8} of {packed} compressed bytes are there; {_RESTORE}")
    columns = unpack_lzf(body[8 : 8 + packed])
    if len(columns) != unpacked:
        raise DataError(f"{where} is damaged: {len(columns)} of {unpacked} bytes came out of it; {_RESTORE}")
    _check_length(head, len(columns), where)
    found, start = {}, 0
    for name, kind, count in zip(head.fields, head.types, head.counts, strict=True):
        numbers = np.frombuffer(columns, kind, head.points * count, start)
        found[name] = numbers[::count].astype(np.float64)
        start += numbers.nbytes
    return found


def _check_length(head: _Head, length: int, where: str) -> None:
    wanted = head.points * head.row.itemsize
    if length < wanted:
        raise DataError(
            f"{where} is truncated: its head announces {head.points} points of {head.row.itemsize} bytes, "
            f"{length} of {wanted} bytes are there; {_RESTORE}"
        )


def unpack_lzf(data: bytes) -> bytes:
    """What an LZF stream (liblzf) holds, as far as it is whole: literal runs, and copies of what came before."""
    out, at = bytearray(), 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7 and at < len(data):
            length += data[at]
            at += 1
        if at >= len(data):
            break
        back = ((control & 31) << 8) + data[at] + 1
        at += 1
        if back > len(out):
            break
        copied = bytes(out[-back:][: length + 2])
        out += (copied * (-(-(length + 2) // len(copied))))[: length + 2]  # a copy may overlap what it writes
    return bytes(out)
