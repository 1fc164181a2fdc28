"""Writes requirements/indirect.txt: the versions of what the direct requirements pull in, as this environment has them.

Run it (`make pins`) after changing a direct pin and setting up again; direct pins live in the folder's other files.
"""

import os
import re
from importlib.metadata import distributions
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
HEADER = "# Versions of indirect requirements, written by scripts/pin_indirect.py; a pip constraints file.\n"
TOOLS = {"pip", "kd-perception"}


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_names() -> set[str]:
    """Names that the hand-written requirement files pin."""
    lines = [
        line
        for path in REQUIREMENTS.glob("*.txt")
        if path.name != "indirect.txt"
        for line in path.read_text().splitlines()
    ]
    return {
        normalised(re.split(r"[=<>~!;\s]", line, maxsplit=1)[0])
        for line in lines
        if line and not line.startswith(("#", "-r "))
    }


def main() -> None:
    """Write the file from what pip installed here, whole or not at all."""
    left_out = direct_names() | TOOLS
    by_pip = [dist for dist in distributions() if (dist.read_text("INSTALLER") or "").strip() == "pip"]
    versions = {normalised(dist.metadata["Name"]): dist.version for dist in by_pip}
    pins = [f"{name}=={version}\n" for name, version in sorted(versions.items()) if name not in left_out]
    target = REQUIREMENTS / "indirect.txt"
    scratch = target.with_suffix(".part")
    scratch.write_text(HEADER + "".join(pins))
    os.replace(scratch, target)
    print(f"{target.name}: {len(pins)} indirect requirements")


if __name__ == "__main__":
    main()
