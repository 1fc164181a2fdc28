"""`kd bench scaling`: what a student costs with more cameras, pixels, cells, threads and rigs, and where that bends."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.latency.scaling import BASE_CAMERAS, HEADINGS, make_cases, scaling_rows, time_cases
from kd_bench.options import EngineName, ReportFile
from kd_bench.progress import progress_bars
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.resources import resource

METHOD = f"""Random weights; the geometry of a ring of ideal cameras. *Work* is what varies, relative to a series' first
case; *cost* is processor time, relative to it. *Cost / work* is 1 where cost follows work, below 1 where part of it is
fixed, above 1 where a unit of work becomes dearer. Where cameras do not vary there are {BASE_CAMERAS}. Cases run in
turns: the best time of all rounds, the median of processor seconds. *Rigs in the image network* puts the images of
several rigs through the image half of the file at once; the BEV half has no such axis."""


def scaling(
    *,
    config: Annotated[Path, typer.Option(help="Training configuration whose network is measured.")] = Path(
        "config/training/bevdet4d_demo.yaml"
    ),
    engine: EngineName = "openvino",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the engine; 0: one a core.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all cases run in turn.")] = 10,
    out: ReportFile = None,
) -> None:
    """Time a student against cameras, image size, grid, threads and rigs at once."""
    console, threads = Console(), threads or len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        with console.status("exporting the cases"):
            cases = make_cases(resource(config), engine, Path(folder), threads)
        with progress_bars(console) as bar:
            times = time_cases(cases, rounds, bar("timing"))
    rows = scaling_rows(times)
    console.print(terminal_table(str(config), HEADINGS, rows))
    if out is not None:
        facts = {"network": str(config), "engine": f"{engine}, {threads} threads, best of {rounds} rounds"}
        write_report(out, "Cost against work", facts, f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}")
