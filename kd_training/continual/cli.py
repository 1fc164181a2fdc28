"""`kd continual`: a student learns new domains, drive after drive, and keeps what it knew."""

import typer

from kd_training.continual.buffer_commands import app as buffer

app = typer.Typer(no_args_is_help=True, help="Learn new domains without forgetting earlier ones.")
app.add_typer(buffer, name="buffer")


@app.callback()
def continual() -> None:
    """Learn new domains without forgetting earlier ones."""
