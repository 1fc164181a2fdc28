"""The storage files of a bag, in the order of recording, unpacked where they are compressed as files."""

import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import zstandard

from kd_perception.bags.channel import StorageFile
from kd_perception.bags.mcap_file import McapFile
from kd_perception.bags.sqlite_file import SqliteFile
from kd_perception.errors import DataError

STORAGE_SUFFIXES = (".mcap", ".db3")
ZSTD_SUFFIX = ".zstd"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ROS1_MAGIC, _SQLITE_MAGIC = b"#ROSBAG V", b"SQLite format 3\0"
_BLOCK = 1 << 20


def list_parts(folder: Path, listed: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The parts of a bag folder, and sentences on parts that are missing or left out.

    Order and extent are those of metadata.yaml (`listed`); without one, all storage files by their number. Of a part
    that lies there packed and unpacked the latter counts: its recorder was killed while it packed. Raises DataError if
    there is no part at all.
    """
    by_name: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name, reverse=True):  # x.mcap after x.mcap.zstd
        if _unpacked_name(path.name).endswith(STORAGE_SUFFIXES) and path.is_file():
            by_name[_unpacked_name(path.name)] = path
    if not by_name:
        ros1 = next(folder.glob("*.bag"), None)
        if ros1 is not None:
            raise DataError(_ros1_sentence(ros1))
        raise DataError(f"{folder} holds no .mcap or .db3 file; give a rosbag2 folder")
    names = list(dict.fromkeys(map(_unpacked_name, listed))) or sorted(by_name, key=_by_number)
    problems = [
        f"bag {folder}: its part {name} is missing; restore it from a copy" for name in names if name not in by_name
    ]
    problems += [
        f"bag {folder}: {by_name[name].name} is not in its metadata.yaml and is left out; play that file alone, "
        "or write the metadata again with 'ros2 bag reindex'"
        for name in sorted(set(by_name) - set(names), key=_by_number)
    ]
    return [by_name[name] for name in names if name in by_name], problems


def open_part(path: Path, scratch: Path) -> StorageFile:
    """Open a storage file by its first bytes, unpacking it into `scratch` if need be.

    Raises DataError if it is no storage file, or if there is no room to unpack it.
    """
    start = _first_bytes(path)
    if start.startswith(ZSTD_MAGIC):
        path = _unpack(path, scratch)
        start = _first_bytes(path)
    if start.startswith(_ROS1_MAGIC):
        raise DataError(_ros1_sentence(path))
    if start.startswith(_SQLITE_MAGIC):
        return SqliteFile(path)
    return McapFile(path)


def _first_bytes(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(16)


def _unpack(path: Path, scratch: Path) -> Path:
    """Unpack a zstd file as far as it goes; what is missing shows when the result is read."""
    target = scratch / path.with_suffix("").name
    unpacker = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    try:
        with open(path, "rb") as packed, open(target, "wb") as unpacked:
            while block := packed.read(_BLOCK):
                unpacked.write(unpacker.decompress(block))
    except zstandard.ZstdError:
        pass
    except OSError as error:
        raise DataError(
            f"{path} cannot be unpacked into {scratch} ({error.strerror}); make room, or set TMPDIR to another disk"
        ) from error
    return target


def _unpacked_name(name: str) -> str:
    return name.removesuffix(ZSTD_SUFFIX)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sort key by which bag_2 comes before bag_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _ros1_sentence(path: Path) -> str:
    return (
        f"{path} is a ROS 1 bag; convert it first: "
        f"rosbags-convert --src {quote(str(path))} --dst {quote(str(path.with_name(path.stem + '_ros2')))}"
    )
