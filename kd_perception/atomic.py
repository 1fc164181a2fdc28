"""Files that are either whole or absent: written next to the target, flushed to disk, then renamed."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder: renamed to `target` on success, removed on any exception.

    The temporary name keeps the target's suffix, because some writers choose the format by it.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files; the result is an ordinary one
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error  # a failed write does not name its file
    finally:
        temporary.unlink(missing_ok=True)


def remove_remains(target: Path) -> None:
    """Delete temporary files that killed writers of `target` left; no writer may be running."""
    target = Path(target)
    for path in target.parent.glob(f".{target.stem}.*{target.suffix}"):
        path.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target` atomically."""
    with atomic_path(target) as temporary, open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_text(target: Path, text: str) -> None:
    """Write `text` (UTF-8) to `target` atomically."""
    write_bytes(target, text.encode())


def disk_refusal(error: OSError) -> str:
    """A sentence if the disk refused the file (full, over quota, read-only, broken, no permission), else empty."""
    if error.errno not in DISK_REFUSALS:
        return ""
    where = f"{error.filename} cannot be written" if error.filename else "a file cannot be written"
    return f"{where} ({error.strerror}); make room or choose another folder, then try again"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
