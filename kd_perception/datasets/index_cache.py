"""Arrays that follow from a folder of tables, kept in one file that processes map into memory and share.

The file's name holds sizes and times of the tables, so an index of other tables is never read. A damaged one is made
again.
"""

import fcntl
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kd_perception.atomic import atomic_path

FORMAT = 2  # of the arrays; another number makes every index again
KEPT_ABOVE = 1 << 26  # bytes of tables; smaller ones are searched faster than a file is worth
FOLDER = ".kd_index"

Arrays = Mapping[str, np.ndarray]


def indexed(tables: Path, build: Callable[[], Arrays]) -> Arrays:
    """The arrays that `build` makes of the tables in a folder, from their file if it is there.

    The file lies next to the tables, or in `$XDG_CACHE_HOME/kd_perception/tables` where that folder is read-only.
    Processes that start together wait for the first. Raises what `build` raises.
    """
    files = sorted(tables.glob("*.json"))
    if sum(path.stat().st_size for path in files) < KEPT_ABOVE:
        return build()
    name, folders = f"{_key(files)}.index", _folders(tables)
    for folder in folders:
        if (found := read_arrays(folder / name)) is not None:
            return found
    for folder in folders:
        with _alone_in(folder) as writable:
            if writable:
                return read_arrays(folder / name) or _build_into(folder / name, build)
    return build()


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays behind each other in NumPy's format, after their names and checksums."""
    sums = np.array([zlib.crc32(np.ascontiguousarray(array)) for array in arrays.values()], np.int64)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        for array in (np.array(list(arrays)), sums, *arrays.values()):
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            stream.write(b"\0" * (-stream.tell() % 64))  # arrays that are mapped must be aligned


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file, mapped into memory; None if there is none or it is damaged."""
    try:
        with open(path, "rb") as stream:
            names, sums = _mapped(stream), _mapped(stream)
            arrays = {str(name): _mapped(stream) for name in names}
    except (OSError, ValueError, EOFError):
        return None
    whole = all(zlib.crc32(array) == wanted for array, wanted in zip(arrays.values(), sums, strict=True))
    return arrays if whole else None


def _mapped(stream: BinaryIO) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"{stream.name} was not written here")
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    if kind.hasobject:
        raise ValueError(f"{stream.name} holds objects")
    start = stream.tell()
    end = start + kind.itemsize * int(np.prod(shape))
    stream.seek(end + -end % 64)
    if not end > start:
        return np.zeros(shape, kind)
    return np.memmap(stream.name, kind, "r", start, shape).view(np.ndarray)


def _build_into(path: Path, build: Callable[[], Arrays]) -> Arrays:
    arrays = build()
    try:
        write_arrays(path, arrays)
    except OSError:  # the disk is full: it works without the file
        return arrays
    for older in path.parent.glob("*.index"):
        if older != path:
            older.unlink(missing_ok=True)
    return read_arrays(path) or arrays


def _folders(tables: Path) -> tuple[Path, Path]:
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    place = hashlib.sha256(str(tables.resolve()).encode()).hexdigest()[:16]
    return tables / FOLDER, home / "kd_perception" / "tables" / place


@contextmanager
def _alone_in(folder: Path) -> Iterator[bool]:
    """Wait until no other process is here; False if nothing can be written into the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = open(folder / "lock", "w")  # noqa: SIM115, closed below
    except OSError:
        yield False
        return
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield True


def _key(files: Sequence[Path]) -> str:
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((FORMAT, facts)).encode()).hexdigest()[:32]
