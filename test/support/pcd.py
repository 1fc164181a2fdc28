"""Writes .pcd files, LZF-compressed ones by the simplest compressor that uses both kinds of its codes."""

from collections.abc import Mapping

import numpy as np

_TYPES = {"f": "F", "i": "I", "u": "U"}


def pcd(fields: Mapping[str, np.ndarray], coding: str) -> bytes:
    """A file of fields by name, (N,) each."""
    arrays = list(fields.values())
    head = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {' '.join(fields)}",
        f"SIZE {' '.join(str(array.itemsize) for array in arrays)}",
        f"TYPE {' '.join(_TYPES[array.dtype.kind] for array in arrays)}",
        f"COUNT {' '.join('1' for _ in arrays)}",
        f"WIDTH {len(arrays[0])}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(arrays[0])}",
        f"DATA {coding}",
        "",
    ]
    return "\n".join(head).encode() + _body(fields, coding)


def _body(fields: Mapping[str, np.ndarray], coding: str) -> bytes:
    if coding == "ascii":
        return "".join(" ".join(map(str, row)) + "\n" for row in zip(*fields.values(), strict=True)).encode()
    if coding == "binary":
        return np.rec.fromarrays(list(fields.values()), names=list(fields)).tobytes()
    columns = b"".join(array.tobytes() for array in fields.values())
    packed = pack_lzf(columns)
    return np.array([len(packed), len(columns)], "<u4").tobytes() + packed


def pack_lzf(data: bytes) -> bytes:
    """An LZF stream: repeated triples become copies, the rest literal runs."""
    out, literal, seen, at = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for start in range(0, len(literal), 32):
            run = literal[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literal.clear()

    while at < len(data):
        before = seen.get(data[at : at + 3])
        seen[data[at : at + 3]] = at
        if before is None or at - before > 8191 or at + 3 > len(data):
            literal.append(data[at])
            at += 1
            continue
        length = 3
        while at + length < len(data) and length < 264 and data[before + length] == data[at + length]:
            length += 1
        flush()
        back, code = at - before - 1, length - 2
        out.append((min(code, 7) << 5) | (back >> 8))
        if code >= 7:
            out.append(code - 7)
        out.append(back & 255)
        at += length
    flush()
    return bytes(out)
