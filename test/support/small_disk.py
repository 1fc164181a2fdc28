"""A disk that is soon full: a small tmpfs where one can be mounted, else files that cannot grow."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KIBIBYTE = 1024


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """An empty folder that takes `kibibytes`; where mounting is not allowed, no file of this process grows beyond."""
    folder.mkdir()
    options = f"size={kibibytes}k"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode == 0:
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python starts with: a write then fails with EFBIG
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kibibytes * KIBIBYTE, before[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
