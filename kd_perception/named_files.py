"""Files that a command line names: NAME=FILE."""

from collections.abc import Sequence
from pathlib import Path

from kd_perception.errors import ConfigError


def named_files(given: Sequence[str], option: str) -> dict[str, Path]:
    """Files by name, in their order; raises ConfigError for another form, a name given twice or a missing file."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{option} '{text}' is not NAME=FILE")
        if name in found:
            raise ConfigError(f"{option} names '{name}' twice; give every file a name of its own")
        if not Path(path).is_file():
            raise ConfigError(f"{option} {name}: {path} does not exist")
        found[name] = Path(path)
    return found
