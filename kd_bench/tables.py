"""Tables of `kd bench`: in the terminal, and as the files of docs/benchmarks."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.table import Table

from kd_perception.atomic import write_text
from kd_perception.commit import code_commit


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


def device() -> str:
    """Cores and family of this machine's CPU, from the kernel's description where there is one, and its GPU."""
    name = platform.processor() or platform.machine()
    try:
        entries = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
        facts = {key.strip(): value.strip() for key, value in reversed(entries)}
        name = facts.get("model name", name)
        flags = facts.get("flags", "").split()
        extras = [label for flag, label in (("avx512f", "AVX-512"), ("avx512_bf16", "BF16")) if flag in flags]
        name += f" (family {facts['cpu family']}, model {facts['model']}{''.join(f', {label}' for label in extras)})"
    except (OSError, KeyError):
        pass  # not Linux on x86: the platform's own name has to do
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{len(os.sched_getaffinity(0))} cores of {name}{gpu}"
