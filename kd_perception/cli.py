"""`kd`, the one command line. Commands join through the entry-point group `kd.commands` and are imported when used.

A command is a plain function with typer annotations, in the module that does the work. Errors a user can mend (KdError)
become one sentence on standard error and exit status 1; Ctrl-C exits with 130 and no traceback.
"""

import signal
import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console
from typer.core import TyperGroup

from kd_perception import __version__
from kd_perception.errors import KdError

ENTRY_POINT_GROUP = "kd.commands"
ORDER = ("demo", "synth", "train", "eval", "export", "bag", "replay", "up", "bench")


class CommandGroup(TyperGroup):
    """Lists the installed commands and imports only the one that is run (all of them for the short help texts)."""

    def list_commands(self, ctx) -> list[str]:  # noqa: ANN001 - typer's own context type is private
        names = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
        return [name for name in ORDER if name in names] + sorted(names - set(ORDER))

    def get_command(self, ctx, cmd_name: str):  # noqa: ANN001, ANN201
        for entry in entry_points(group=ENTRY_POINT_GROUP, name=cmd_name):
            loaded = entry.load()
            if isinstance(loaded, typer.Typer):
                command = typer.main.get_command(loaded)
            else:
                wrapper = typer.Typer(add_completion=False, rich_markup_mode="rich")
                wrapper.command(cmd_name)(loaded)
                command = typer.main.get_command(wrapper)
            command.name = cmd_name
            return command
        return None


app = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="LiDAR-taught camera 3D detection: make data, train and export a student, run it on a robot, score bags.\n\n"
    "Start with [bold]kd demo[/bold]; every command explains itself with --help.",
    epilog="A student is one ONNX file; a data set is a nuScenes-format folder; a bag is a rosbag2.",
)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Options of `kd` itself."""
    if version:
        typer.echo(__version__)
        raise typer.Exit()


def main() -> None:
    """Entry point of the `kd` script."""
    try:
        app()
    except KdError as error:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="yellow")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a further Ctrl-C must not disturb the end


if __name__ == "__main__":
    main()
