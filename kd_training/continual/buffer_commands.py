"""`kd continual buffer`: what is replayed of earlier domains."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The replay buffer: what it keeps of earlier domains, and why.")


@app.callback()
def buffer() -> None:
    """The replay buffer: what it keeps of earlier domains, and why."""


@app.command()
def show(*, folder: Annotated[Path, typer.Argument(help="Folder of the buffer.")]) -> None:
    """Say what a buffer holds by domain and class, and why."""
    from rich.console import Console

    from kd_training.data.replay_buffer import read_buffer

    Console().print(f"{folder}: {len(read_buffer(folder).entries)} keyframes")
