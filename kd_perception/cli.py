"""`kd`, the one command line. Commands join through the entry-point group `kd.commands` and are imported when used.

A command is a plain function with typer annotations, in the module that does the work. Errors that a user can fix
(KdError, a full disk) become one sentence on standard error and exit status 1; Ctrl-C, SIGTERM and SIGHUP exit with
130 and no traceback.
"""

import sys
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kd_perception import __version__
from kd_perception.atomic import disk_refusal
from kd_perception.commands.group import CommandGroup
from kd_perception.errors import KdError
from kd_perception.interrupts import forget_unhandled, ignore_all, raise_on_all
from kd_perception.printable import printable


class Commands(CommandGroup):
    """The commands of `kd`."""

    entry_point_group = "kd.commands"
    order = (
        "demo",
        "synth",
        "train",
        "eval",
        "kitti-ap",
        "compare",
        "view",
        "export",
        "import",
        "data",
        "bag",
        "replay",
        "up",
        "swap",
        "parity",
        "rig",
        "bench",
    )


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Teach a camera student to detect 3D objects from a LiDAR teacher, and run it on a robot.\n\n"
    "Start with [bold]kd demo[/bold], which needs no data. Each command explains its options with --help.",
    epilog="A student is one ONNX file. A data set is a folder in nuScenes format. A bag is a rosbag2.",
)


@app.callback(invoke_without_command=True)
def root(*, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Options of `kd` itself."""
    if version:
        typer.echo(__version__)
        raise typer.Exit()


def main() -> None:
    """Entry point of the `kd` script."""
    raise_on_all()
    try:
        try:
            _run()
        finally:
            ignore_all()
            forget_unhandled()  # typer catches most of them, and exits with 130, too
    except KeyboardInterrupt:  # perhaps of a signal that came just before all were ignored
        ignore_all()
        forget_unhandled()
        with suppress(OSError):  # the terminal may have been closed
            Console(stderr=True).print("interrupted", style="yellow")
        sys.exit(130)


def _run() -> None:
    """Run the command; an error that a user can fix is told in one sentence and ends with status 1."""
    try:
        app()
    except (KdError, OSError) as error:
        sentence = disk_refusal(error) if isinstance(error, OSError) else str(error)
        if not sentence:
            raise
        sentence = escape(printable(sentence))
        Console(stderr=True).print(f"[bold red]error:[/bold red] {sentence}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
