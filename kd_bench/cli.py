"""`kd bench`: the measurements of the entry-point group `kd.benchmarks`."""

import typer

from kd_perception.commands.group import CommandGroup


class Benchmarks(CommandGroup):
    """The group of measurements; `kd bench` alone times the pipeline."""

    entry_point_group = "kd.benchmarks"
    order = ("pipeline", "parity", "soak")
    default = "pipeline"


bench = typer.Typer(
    cls=Benchmarks,
    add_completion=False,
    rich_markup_mode="rich",
    help="Measure time per stage, agreement of engines, the graph under load, distillation and more. "
    "Without a name: [bold]pipeline[/bold].",
)


@bench.callback()
def _options() -> None:
    """Without options: this callback makes `kd bench` a group even with one command."""
