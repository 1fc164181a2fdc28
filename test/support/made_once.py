"""What takes long to make and tests only read is made once a run, also where the run has several processes."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(request: pytest.FixtureRequest, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` filled in the first process that asked for `name`; do not change it."""
    base = request.getfixturevalue("tmp_path_factory").getbasetemp()
    if hasattr(request.config, "workerinput"):
        base = base.parent  # the run's folder, which holds one for each of its processes
    folder, made = base / name, base / f"{name}.made"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half-made by a test that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
