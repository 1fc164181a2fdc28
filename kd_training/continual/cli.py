"""`kd continual`: a student learns new domains, drive after drive, and keeps what it knew."""

import typer

from kd_training.continual.buffer_commands import app as buffer
from kd_training.continual.gate_command import gate
from kd_training.continual.update_command import update

app = typer.Typer(no_args_is_help=True, help="Learn new domains without forgetting earlier ones.")
app.add_typer(buffer, name="buffer")
app.command()(update)
app.command()(gate)


@app.callback()
def continual() -> None:
    """Learn new domains without forgetting earlier ones."""
