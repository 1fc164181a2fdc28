"""Files shipped with the code: launch/, config/, models/, in a checkout or installed under share/kd_perception."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from kd_perception.errors import DataError, StudentError

PACKAGE = "kd_perception"
SHIPPED_STUDENT = "models/bevdet4d_distilled.onnx"  # the default of every command
SHIPPED_INT8_STUDENT = "models/bevdet4d_distilled_int8.onnx"  # the same in int8: what the demo runs
SHIPPED_SINGLE_FRAME_STUDENT = "models/bevdet_demo.onnx"  # the baseline of comparisons


def resource(relative: str) -> Path:
    """Path of a shipped file or folder such as 'config/fastdds.xml'; raises DataError if it is not found."""
    for found in _places(relative):
        if found.exists():
            return found
    folders = " or ".join(map(str, _places()))
    raise DataError(f"{relative} is not in {folders}; install the package again, or run from a checkout")


def student_path(given: Path) -> Path:
    """The student file that is meant: a path stays as it is, a name without folder and suffix is a shipped student's.

    Raises StudentError, which lists the shipped students, for the name of none.
    """
    if given.is_file() or given.suffix or len(given.parts) != 1:
        return given
    shipped: dict[str, Path] = {}
    for path in (path for folder in _places("models") for path in folder.glob("*.onnx")):
        shipped.setdefault(path.stem, path)
    if given.name not in shipped:
        names = ", ".join(sorted(shipped)) or "none is installed"
        raise StudentError(f"no shipped student is called '{given}' (there are: {names}); give one of them, or a path")
    return shipped[given.name]


def use_middleware_profile() -> None:
    """Let participants of this process and its children use the profile for images, unless the user set another."""
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(resource("config/fastdds.xml")))


def _places(relative: str = ".") -> Iterator[Path]:
    """Where a shipped file may be: the checkout, then installations."""
    return (folder / relative for folder in (Path(__file__).resolve().parents[1], *_share_folders()))


def _share_folders() -> list[Path]:
    """Where an installation puts shared files: the folder in the ament index, and the Python prefix's share folder."""
    folders = [Path(sys.prefix) / "share" / PACKAGE]
    try:
        from ament_index_python.packages import get_package_share_directory

        folders.insert(0, Path(get_package_share_directory(PACKAGE)))
    except (ImportError, LookupError, OSError):  # no ament, not indexed (PackageNotFoundError), or no ROS environment
        pass
    return folders
