"""Tables of `kd bench`: in the terminal, and as the files of docs/benchmarks."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from kd_perception.atomic import write_text
from kd_perception.commit import code_commit
from kd_training.machine import device


def terminal_table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A rich table: text left, numbers right."""
    table = Table(title=title)
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(names)} |", "|---" + "|---:" * (len(names) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows)])


def write_report(path: Path, title: str, facts: Mapping[str, str], body: str) -> None:
    """A Markdown file: title, how it was made, and the tables; atomic."""
    made = {"command": f"`{command_line()}`", "commit": code_commit(), "machine": machine(), **facts}
    lines = "\n".join(f"- {name}: {value}" for name, value in made.items())
    write_text(path, f"# {title}\n\n{lines}\n\n{body.strip()}\n")


def command_line() -> str:
    """The command that is running, as one would type it."""
    return shlex.join(["kd", *sys.argv[1:]])


def machine() -> str:
    """The device, and how busy it was."""
    return f"{device()}, load {os.getloadavg()[0]:.1f} during the measurement"
