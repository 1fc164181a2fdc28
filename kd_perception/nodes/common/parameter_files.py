"""Why ROS cannot read a parameter file, in a sentence: its own message names a line of its parser, and no parameter."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", dict: "mapping"}


def unreadable_parameters(arguments: Sequence[str]) -> str:
    """What is wrong with the parameter files of a command line, or '': no YAML, no value, or items of several types."""
    files = [Path(file) for flag, file in zip(arguments, arguments[1:], strict=False) if flag == "--params-file"]
    return "; ".join(problem for file in files for problem in _problems(file))


def _problems(file: Path) -> Iterator[str]:
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        yield f"parameter file {file} cannot be read: {' '.join(str(error).split())}"
        return
    for name, value in _parameters(content):
        kinds = sorted({NAMES.get(type(item), "empty item") for item in value}) if isinstance(value, list) else []
        if value is None:
            yield f"parameter {name} in {file} has no value; write '' for an empty text, or leave it out"
        elif len(kinds) > 1 or set(kinds) & {"list", "mapping", "empty item"}:
            yield f"parameter {name} in {file} is a list of {' and '.join(kinds)}, but must be of one type"


def _parameters(content: object, name: str | None = None) -> Iterator[tuple[str, object]]:
    """Names and values below every `ros__parameters`; `name` is that of the parameters around, None outside of them."""
    if not isinstance(content, dict):
        if name:
            yield name, content
        return
    for key, value in content.items():
        if name is not None:
            yield from _parameters(value, f"{name}.{key}" if name else str(key))
        else:
            yield from _parameters(value, "" if key == "ros__parameters" else None)
