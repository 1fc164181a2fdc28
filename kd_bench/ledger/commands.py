"""Commands of a ledger, as reports show them."""

import shlex
from pathlib import Path


def without_paths(command: str) -> str:
    """A command without this machine's paths: absolute ones keep their last part."""
    words = shlex.split(command)
    return shlex.join(
        f"{head}={Path(tail).name}" if tail.startswith("/") else (Path(word).name if word.startswith("/") else word)
        for word in words
        for head, _, tail in [word.partition("=")]
    )
