"""Files shipped with the code: launch/, config/, models/, in a checkout or installed under share/kd_perception."""

import os
import sys
from pathlib import Path

from kd_perception.errors import DataError

PACKAGE = "kd_perception"
SHIPPED_STUDENT = "models/bevdet4d_distilled.onnx"  # the default of every command
SHIPPED_SINGLE_FRAME_STUDENT = "models/bevdet_demo.onnx"  # the baseline of comparisons


def resource(relative: str) -> Path:
    """Path of a shipped file or folder such as 'config/fastdds.xml'; raises DataError if it is not found."""
    folders = [Path(__file__).resolve().parents[1], *_share_folders()]
    for folder in folders:
        if (folder / relative).exists():
            return folder / relative
    raise DataError(
        f"{relative} is not in {' or '.join(map(str, folders))}; install the package again, or run from a checkout"
    )


def use_middleware_profile() -> None:
    """Let participants of this process and its children use the profile for images, unless the user set another."""
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(resource("config/fastdds.xml")))


def _share_folders() -> list[Path]:
    """Where an installation puts shared files: the folder in the ament index, and the Python prefix's share folder."""
    folders = [Path(sys.prefix) / "share" / PACKAGE]
    try:
        from ament_index_python.packages import get_package_share_directory

        folders.insert(0, Path(get_package_share_directory(PACKAGE)))
    except (ImportError, LookupError, OSError):  # no ament, not indexed (PackageNotFoundError), or no ROS environment
        pass
    return folders
