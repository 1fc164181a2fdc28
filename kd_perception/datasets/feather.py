"""Feather files (Arrow's IPC format) as columns of numbers, which Argoverse 2 has instead of clouds and tables.

pyarrow reads them; it is imported on use, because only this data set needs it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_perception.errors import ConfigError, DataError

MAGIC = b"ARROW1"  # at the beginning and at the end


def read_feather(path: Path, columns: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The columns of a file by name: those wanted, or all of them.

    Raises DataError if the file is absent, cut or lacks a column, ConfigError where pyarrow is not installed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it") from error
    return feather_columns(data, str(path), columns)


def feather_columns(data: bytes, name: str, columns: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """As read_feather, of a file's bytes; `name` is what an error calls it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigError(
            f"{name} is a feather file, and pyarrow is not installed, which reads it; install it with 'pip install -r "
            "requirements/av2.txt'"
        ) from error
    try:
        table = pyarrow.ipc.open_file(pyarrow.BufferReader(data)).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name} of {len(data)} bytes is no whole feather file ({error}); restore it") from error
    lacking = [column for column in columns if column not in table.column_names]
    if lacking:
        raise DataError(f"{name} has no column {lacking[0]}, only {', '.join(table.column_names)}; restore the file")
    return {column: table.column(column).to_numpy() for column in columns or table.column_names}


def is_whole_feather(path: Path) -> bool:
    """Whether a file begins and ends as feather files do: a cut one lacks its end."""
    with path.open("rb") as stream:
        begin = stream.read(len(MAGIC))
        stream.seek(max(path.stat().st_size - len(MAGIC), 0))
        return begin == stream.read() == MAGIC
