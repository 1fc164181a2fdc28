"""A buffer's folder on disk: files that never change, tables that are exchanged in one step.

New files and tables are written next to the old; then one link moves from the old tables to the new. A kill before that
leaves the old buffer, one after it the new; what is left over goes with the next exchange.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kd_perception.atomic import atomic_path, write_bytes, write_text
from kd_perception.datasets.written_tables import table_token
from kd_perception.errors import ConfigError, DataError
from kd_training.continual.keyframe_rows import KeyframeRows
from kd_training.data.replay_buffer import (
    BUFFER_VERSION,
    ENTRIES_FILE,
    STATE_FILE,
    TABLES_FOLDER,
    BufferEntry,
    BufferState,
    ReplayBuffer,
    is_buffer,
    read_buffer,
    rows_file,
)

TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "sample", "sample_annotation",
    "sample_data", "sensor", "visibility", "scene",
)  # fmt: skip
LOCK = ".replay_buffer.lock"
CONTENT = ("samples", "sweeps", "kept")  # folders of files


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only one who adds to the buffer in a folder; a kill ends it, too. Raises ConfigError if another is."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another process is adding to the buffer {folder}; wait for it, then add the domain"
            ) from error
        yield


def write_files(folder: Path, rows: KeyframeRows, number: int) -> None:
    """Put a keyframe's files and rows into the folder: links to the same content where the file system can, else
    copies. Raises DataError naming a file that is missing."""
    for name, source in rows.files.items():
        _take(source.resolve(), folder / name)
    write_text(folder / rows_file(number), json.dumps(rows.tables))


def exchange(folder: Path, state: BufferState, entries: Sequence[BufferEntry]) -> ReplayBuffer:
    """Make these entries, whose files are there, the buffer."""
    tables = folder / TABLES_FOLDER / _next_number(folder)
    _write_tables(tables, [json.loads((folder / rows_file(entry.number)).read_bytes()) for entry in entries])
    write_bytes(tables / STATE_FILE, msgspec.json.format(msgspec.json.encode(state), indent=1))
    write_bytes(tables / ENTRIES_FILE, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    _link(folder, tables.name)
    return ReplayBuffer(folder, state, tuple(entries))


def restore_link(folder: Path) -> None:
    """Let the tables of now be a link again, where a copy of the buffer has a folder instead; nobody may be adding.

    A kill meanwhile leaves the link under a hidden name: the next call takes it from there.
    """
    version, hidden = folder / BUFFER_VERSION, folder / f".{BUFFER_VERSION}.restored"
    if version.is_dir() and not version.is_symlink():
        numbered = folder / TABLES_FOLDER / _next_number(folder)
        numbered.parent.mkdir(exist_ok=True)
        hidden.unlink(missing_ok=True)
        hidden.symlink_to(Path(TABLES_FOLDER) / numbered.name)
        os.rename(version, numbered)
    if not version.exists() and hidden.exists():
        os.replace(hidden, version)


def copy_buffer(source: Path, target: Path) -> None:
    """A buffer that grows apart from `source`; both share their files, which never change, where links can be made."""
    shutil.copytree(source, target, symlinks=True, copy_function=link_or_copy, ignore=shutil.ignore_patterns(LOCK))


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system can, else a copy, whole or not at all."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def clean(folder: Path) -> None:
    """Delete files and tables that the buffer in a folder does not need: evicted keyframes, and what an interrupted
    addition left. Nobody may be adding."""
    entries = read_buffer(folder).entries if is_buffer(folder) else ()
    wanted = {folder / name for entry in entries for name in entry.files}
    for name in CONTENT:
        for path in (folder / name).rglob("*"):
            if path not in wanted and not path.is_dir():
                path.unlink(missing_ok=True)
    current = (folder / BUFFER_VERSION).resolve()
    for path in (folder / TABLES_FOLDER).glob("*"):
        if path.resolve() != current:
            shutil.rmtree(path, ignore_errors=True)


def _next_number(folder: Path) -> str:
    numbers = [int(path.name) for path in (folder / TABLES_FOLDER).glob("*") if path.name.isdigit()]
    return str(max(numbers, default=0) + 1)


def _link(folder: Path, number: str) -> None:
    """Make the tables of this number those of now, in one step."""
    hidden = folder / f".{BUFFER_VERSION}"
    hidden.unlink(missing_ok=True)
    hidden.symlink_to(Path(TABLES_FOLDER) / number)
    os.replace(hidden, folder / BUFFER_VERSION)


def _take(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file():
        raise DataError(f"{source} is missing, so its keyframe cannot be kept; restore it or leave its scene out")
    link_or_copy(source, target)


def _write_tables(target: Path, keyframes: Sequence[Mapping[str, list[dict]]]) -> None:
    merged: dict[str, dict[str, dict]] = {name: {} for name in TABLES}
    for tables in keyframes:
        for name, rows in tables.items():
            for row in rows:
                merged[name].setdefault(row["token"], row)
    logs = list(merged["log"])
    maps = [{"token": table_token("map"), "log_tokens": logs, "category": "semantic_prior", "filename": ""}]
    for name, rows in ({"map": maps} | {name: list(rows.values()) for name, rows in merged.items()}).items():
        write_text(target / f"{name}.json", json.dumps(rows))
