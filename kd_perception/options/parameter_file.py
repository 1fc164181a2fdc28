"""A robot's own parameter file: which of its values apply to a node, by the names and wildcards that ROS 2 reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from kd_perception.errors import ConfigError

PARAMETERS = "ros__parameters"


def parameters_for(file: Path, full_name: str) -> dict[str, object]:
    """Values by parameter name for the node of this full name, of a file's last section that states them.

    Raises ConfigError if the file cannot be read or holds something else.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"parameter file {file} cannot be read: {' '.join(str(error).split())}") from error
    found: dict[str, object] = {}
    sections = list(_sections(content, ""))
    if not sections:
        raise ConfigError(f"parameter file {file} has no '{PARAMETERS}:' below the name of a node, e.g. bev_student")
    for pattern, values in sections:
        if _matches(pattern, full_name):
            found |= values
    return found


def _sections(content: object, pattern: str) -> Iterator[tuple[str, dict]]:
    """Pattern of node names and parameters of each section; names may be nested as namespaces are."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == PARAMETERS and isinstance(value, dict):
            yield pattern, value
        elif key != PARAMETERS:
            yield from _sections(value, f"{pattern}/{str(key).strip('/')}")


def _matches(pattern: str, full_name: str) -> bool:
    """Whether a name fits: * is one part of it, ** any number of them."""
    parts = [part for part in pattern.split("/") if part]
    fits = ["(/[^/]+)*" if part == "**" else "/" + re.escape(part).replace(r"\*", "[^/]*") for part in parts]
    return re.fullmatch("".join(fits), full_name) is not None
