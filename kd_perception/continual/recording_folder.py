"""Writes the recording folder: whole frames only, never more bytes than its budget, one recorder at a time."""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from kd_perception.atomic import disk_refusal, remove_remains, write_bytes
from kd_perception.bags.frame_file import FilePart, read_part
from kd_perception.bags.metadata import METADATA
from kd_perception.bags.parts_metadata import metadata_text
from kd_perception.continual.recording import (
    FRAME_PREFIX,
    FRAME_SUFFIX,
    KEPT,
    LOCK,
    KeptFrame,
    index_bytes,
    is_recording,
    read_index,
)
from kd_perception.errors import DataError

CUSTOM = {"written_by": "kd_perception hard_sample_recorder"}


@dataclass(frozen=True)
class _Stored:
    """A kept frame and what metadata.yaml says of its file."""

    frame: KeptFrame
    part: FilePart


class RecordingFolder:
    """The folder as one recorder has it open. Belongs to one thread.

    `problems`: sentences on what was found broken or left behind when it was opened. No method leaves the folder half
    written; all raise DataError with a sentence where the disk refuses.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        """Open or create it; what a killed recorder left half done is completed or removed.

        Raises DataError if it holds anything else, if another recorder has it, or if the disk refuses.
        """
        self.folder, self.budget_bytes = Path(folder), budget_bytes
        self.problems: list[str] = []
        self._stored: tuple[_Stored, ...] = ()
        self._lock: IO[str] | None = None
        try:
            self._open()
        except OSError as error:
            self.close()
            raise self._refusal(error) from error
        except DataError:
            self.close()
            raise

    @property
    def frames(self) -> tuple[KeptFrame, ...]:
        """The kept frames in order of time."""
        return tuple(entry.frame for entry in self._stored)

    @property
    def spans_ns(self) -> tuple[tuple[int, int], ...]:
        """First and last recording time of each kept frame."""
        return tuple((entry.part.first_ns, entry.part.last_ns) for entry in self._stored)

    def excess(self, frame: KeptFrame, part: FilePart) -> int:
        """How many bytes of kept frames must go before this one may come, at most 0 if it fits as it is."""
        return _most_bytes((*self._stored, _Stored(frame, part))) - self.budget_bytes

    def keep(self, frame: KeptFrame, part: FilePart, content: bytes, evicted: Sequence[KeptFrame] = ()) -> None:
        """Remove `evicted`, then add a frame whose file has this content.

        Raises DataError if the disk refuses: the frame is not there then, nor are frames that were removed before.
        """
        if self.excess(frame, part) > sum(other.bytes for other in evicted) or len(content) != frame.bytes:
            raise ValueError(f"{frame.file} of {len(content)} bytes does not fit into the budget")
        try:
            if evicted:
                self._remove(evicted)
            write_bytes(self.folder / frame.file, content)
            try:
                self._list((*self._stored, _Stored(frame, part)))
            except OSError:
                (self.folder / frame.file).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._refusal(error) from error

    def remove(self, frames: Sequence[KeptFrame]) -> None:
        """Remove frames; raises DataError if the disk refuses."""
        try:
            self._remove(frames)
        except OSError as error:
            raise self._refusal(error) from error

    @property
    def overrun(self) -> int:
        """By how many bytes the folder exceeds its budget: more than 0 if it was opened with a smaller one."""
        return _most_bytes(self._stored) - self.budget_bytes

    @property
    def is_there(self) -> bool:
        """Whether the folder is still the one that was opened: its disk may have gone, or another may be in place."""
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), (self.folder / LOCK).stat())
        except OSError:
            return False

    def close(self) -> None:
        """Let another recorder have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _open(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"recording {self.folder} is a file; choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in self.folder.iterdir() if path.name != LOCK]
        if others and not is_recording(self.folder) and not _only_remains(others):
            raise DataError(
                f"recording {self.folder} holds {min(others)} and no {KEPT}, so it belongs to something else; nothing "
                "is written there: choose an empty folder"
            )
        self._take_lock()
        for name in (KEPT, METADATA):
            remove_remains(self.folder / name)
        if not is_recording(self.folder):
            write_bytes(self.folder / KEPT, b"")
        self._recover()

    def _take_lock(self) -> None:
        self._lock = open(self.folder / LOCK, "w")  # noqa: SIM115 - held until closed
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"recording {self.folder} is in use by another recorder; give each recorder a folder of its own"
            ) from error

    def _recover(self) -> None:
        """Bring files, index and metadata.yaml together again; the index says which files are frames."""
        frames, problems = read_index(self.folder)
        if problems:
            raise DataError(f"{problems[0]}; nothing is written there until then, or choose another folder")
        stored, missing = [], 0
        for frame in frames:
            path = self.folder / frame.file
            if not path.is_file():
                missing += 1
                continue
            try:
                part = read_part(path)
            except DataError as error:
                self.problems.append(f"{error}; its frame was removed from the recording")
                continue
            stored.append(_Stored(replace(frame, bytes=path.stat().st_size), part))
        if missing:
            self.problems.append(f"recording {self.folder}: {missing} frames of {KEPT} had no file and are forgotten")
        known = {entry.frame.file for entry in stored}
        for path in self.folder.iterdir():
            if path.name not in known and _is_frame_file(path.name.removeprefix(".")):
                path.unlink()
        if stored or frames or (self.folder / METADATA).exists():
            self._list(stored, unless_there=True)

    def _remove(self, frames: Sequence[KeptFrame]) -> None:
        gone = {frame.file for frame in frames}
        self._list([entry for entry in self._stored if entry.frame.file not in gone])
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)

    def _list(self, stored: Sequence[_Stored], *, unless_there: bool = False) -> None:
        """Make these the frames of the folder: index first, then metadata.yaml, which players go by. `unless_there`:
        lists that say so already are not written, so that a full disk can be opened."""
        stored = tuple(sorted(stored, key=lambda entry: entry.part.first_ns))
        for name, content in zip((KEPT, METADATA), _texts(stored), strict=True):
            path = self.folder / name
            if not (unless_there and path.is_file() and path.read_bytes() == content):
                write_bytes(path, content)
        self._stored = stored

    def _refusal(self, error: OSError) -> DataError:
        reason = disk_refusal(error) or f"{error.strerror or error}; check the disk"
        return DataError(f"recording {self.folder} cannot be written: {reason}")


def _texts(stored: Sequence[_Stored]) -> tuple[bytes, bytes]:
    """The contents of kept.jsonl and metadata.yaml."""
    frames = [entry.frame for entry in stored]
    return index_bytes(frames), metadata_text([entry.part for entry in stored], CUSTOM).encode()


def _most_bytes(stored: Sequence[_Stored]) -> int:
    """The most that the folder holds while it takes up these frames: both lists exist twice while they are replaced."""
    return sum(entry.frame.bytes for entry in stored) + 2 * sum(map(len, _texts(stored)))


def _is_frame_file(name: str) -> bool:
    return name.startswith(FRAME_PREFIX) and name.endswith(FRAME_SUFFIX)


def _only_remains(names: Sequence[str]) -> bool:
    """Whether a recorder that was killed within its first moments left these."""
    return all(name.startswith(f".{KEPT.partition('.')[0]}.") for name in names)
