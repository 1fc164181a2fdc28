"""Files of what took minutes to build; none is trusted blindly.

A file is used only if all of it is there, its checksum holds, and the key inside says that it was made from this
model, by this version of the library, for this GPU and these shapes. Anything else is built again and replaced.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from kd_perception.atomic import write_bytes
from kd_perception.errors import KdError

MAGIC = b"KDBUILD1"
LENGTH_BYTES = 4  # of the header's length, little-endian
LONGEST_HEADER = 1 << 20


class CacheMissError(KdError):
    """No usable file; the message says why, and is empty where there simply is none yet."""


@dataclass(frozen=True)
class BuildKey:
    """All that a built file depends on.

    kind: what it is; model: SHA-256 of the student file, empty where it serves any model; library: name and version of
    what built it; gpu, capability, multiprocessors: the device it is for; cameras, shapes: the inputs' sizes by name;
    recipe: counts changes in how this project builds.
    """

    kind: str
    model: str
    library: str
    gpu: str
    capability: str
    multiprocessors: int
    cameras: int
    shapes: str
    recipe: int

    def file_name(self) -> str:
        """A name that differs for every key and says what the file is."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        parts = (self.model[:12], f"{self.cameras}cameras" if self.cameras else "", self.library, self.gpu)
        words = "-".join("".join(c if c.isalnum() or c in ".+" else "_" for c in word) for word in parts if word)
        return f"{words}-{digest[:16]}.{self.kind}"


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/kd_perception/engines`, by default in ~/.cache (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says to ignore relative paths.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "kd_perception" / "engines"


def store(folder: Path, key: BuildKey, payload: bytes) -> Path:
    """Keep `payload`: the file appears whole or not at all; raises OSError if the folder cannot be written."""
    header = json.dumps(
        {"key": asdict(key), "bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}, sort_keys=True
    ).encode()
    path = folder / key.file_name()
    write_bytes(path, MAGIC + len(header).to_bytes(LENGTH_BYTES, "little") + header + payload)
    return path


def fetch(folder: Path, key: BuildKey) -> bytes:
    """What was kept under this key; raises CacheMissError saying why there is nothing usable."""
    path = folder / key.file_name()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CacheMissError("") from None
    except OSError as error:
        raise CacheMissError(f"{path} cannot be read ({error.strerror})") from error
    start = len(MAGIC) + LENGTH_BYTES
    if data[: len(MAGIC)] != MAGIC:
        raise CacheMissError(f"{path} is no file of this cache")
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    header, payload = data[start : start + length], data[start + length :]
    if length > LONGEST_HEADER or len(header) != length:
        raise CacheMissError(f"{path} is truncated")
    try:
        facts = json.loads(header)
        theirs, size, digest = dict(facts["key"]), facts["bytes"], facts["sha256"]
    except (ValueError, TypeError, KeyError) as error:
        raise CacheMissError(f"{path} has a damaged header") from error
    if theirs != asdict(key):
        differing = sorted(name for name, value in asdict(key).items() if theirs.get(name) != value)
        raise CacheMissError(f"{path} was made for another {', '.join(differing) or 'key'}")
    if len(payload) != size:
        raise CacheMissError(f"{path} is truncated: {len(payload)} of {size} bytes")
    if hashlib.sha256(payload).hexdigest() != digest:
        raise CacheMissError(f"{path} is damaged: its checksum does not hold")
    return payload
