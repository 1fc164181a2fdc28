#!/usr/bin/env python3
"""Writes what states the options of the nodes: config/nodes/*.yaml, and the parameter tables of docs/robot.md.

Run it (`make options`) after changing a dataclass of kd_perception/options.
"""

import re
from pathlib import Path

from kd_perception.options.listings import NODES, parameter_file, parameter_table

ROOT = Path(__file__).resolve().parents[1]
DOCS = Path("docs/robot.md")


def texts() -> dict[Path, str]:
    """The files' texts by their path in the repository."""
    files = {Path(f"config/nodes/{node}.yaml"): parameter_file(node) for node in NODES}
    page = (ROOT / DOCS).read_text()
    for node in NODES:
        begin, end = f"<!-- options of {node}: `make options` writes them -->\n", f"<!-- end of {node} -->"
        page, found = re.subn(f"(?s)({begin}).*?({end})", lambda m, n=node: m[1] + parameter_table(n) + m[2], page)
        if found != 1:
            raise SystemExit(f"{DOCS} must have the line {begin.strip()} and, below it, {end}, once; put them back")
    return {**files, DOCS: page}


def main() -> None:
    """Write the files."""
    for path, text in texts().items():
        (ROOT / path).write_text(text)
        print(path)


if __name__ == "__main__":
    main()
