"""Points the CMake files of ROS 2 wheels at this Python.

The wheels' exported CMake targets name the include folders of the machine that built them
(/opt/python/cp3XX-cp3XX/...); message packages compile only after these name this environment's own.
Run it with the environment's Python after every install of ros-* or numpy; running it twice changes nothing.

    .venv/bin/python scripts/repair_ros_wheels.py [PREFIX]
"""

import os
import re
import sys
import sysconfig
from pathlib import Path

NUMPY_INCLUDE = re.compile(r"/opt/python/[^;\"\s]*/site-packages/numpy/_?core/include")
PYTHON_INCLUDE = re.compile(r"/opt/python/[^;\"\s]*/include/python3\.\d+")


def repaired(text: str, python_include: str, numpy_include: str) -> str:
    """The text of one CMake file with the build machine's include folders replaced."""
    text = NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return PYTHON_INCLUDE.sub(lambda _: python_include, text)


def repair(prefix: Path, python_include: str, numpy_include: str) -> list[Path]:
    """Rewrite the CMake files under prefix/share that need it, each whole or not at all; returns those changed."""
    changed = []
    for path in sorted((prefix / "share").rglob("*.cmake")):
        old = path.read_text(encoding="utf-8")
        new = repaired(old, python_include, numpy_include)
        if new != old:
            scratch = path.with_name(path.name + ".part")
            scratch.write_text(new, encoding="utf-8")
            os.replace(scratch, path)
            changed.append(path)
    return changed


def main() -> None:
    """Repair the CMake files below the prefix that is given, or below this Python's."""
    import numpy

    prefix = Path(sys.argv[1] if len(sys.argv) > 1 else sys.prefix)
    changed = repair(prefix, sysconfig.get_path("include"), numpy.get_include())
    print(f"ROS 2 wheels: {len(changed)} CMake files now name this Python's include folders")


if __name__ == "__main__":
    main()
