"""Shared memory that killed nodes leave behind: FastDDS reserves 134 MB for each, freed only by a good end."""

import fcntl
import re
import time
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/dev/shm")
LOCK = re.compile(r"fastdds_[0-9a-z]{16}_el")  # held by the segment's process for as long as that lives
YOUNG_S = 5.0  # a lock that is about to be taken


def remove_orphaned_segments(folder: Path = FOLDER) -> int:
    """Remove FastDDS's segments whose process has ended, as `fastdds shm clean` does; returns how many.

    Those of other users, which may not be removed, stay.
    """
    return sum(_removed(path) for path in folder.glob("fastdds_*_el") if LOCK.fullmatch(path.name))


def _removed(lock_file: Path) -> bool:
    with suppress(OSError), open(lock_file) as lock:  # OSError: held, gone meanwhile, or another user's
        if time.time() - lock_file.stat().st_mtime < YOUNG_S:
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock_file.with_name(lock_file.name.removesuffix("_el")).unlink(missing_ok=True)
        lock_file.unlink()
        return True
    return False
