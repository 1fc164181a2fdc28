"""Options that the commands which fill a ledger share, and the end of their time."""

import math
import time
from pathlib import Path
from typing import Annotated

import typer

Arms = Annotated[list[str] | None, typer.Option(help="Only this arm; repeat for more. Default: all.")]
Seeds = Annotated[int, typer.Option(min=0, help="At most so many seeds of an arm; 0: all.")]
Start = Annotated[
    Path | None, typer.Option(help="Weights of depth alone that every student begins with. Default: shipped.")
]
Render = Annotated[bool, typer.Option(help="Render what is missing, or take the sets as they are.")]
Work = Annotated[Path, typer.Option(help="Folder of the runs: logs, states, weights, detections.")]
Ledger = Annotated[
    Path, typer.Option(help="JSON lines of finished runs, which are not repeated; the report goes next to it.")
]
Budget = Annotated[
    float, typer.Option(min=0.0, help="Minutes after which to stop; the same command continues. 0: no limit.")
]
Batch = Annotated[int, typer.Option(min=1, help="Samples of a step.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes at a time.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads of every run; 0: PyTorch chooses.")]
Readers = Annotated[int, typer.Option(min=0, help="Further processes of every run, that read its batches.")]
Together = Annotated[
    bool, typer.Option(help="Train runs that take the same batches in one process: for GPUs, which wait for batches.")
]


def end_of(budget: float) -> float:
    """The time on the monotonic clock at which a budget of minutes from now ends; infinity for 0."""
    return time.monotonic() + 60.0 * budget if budget else math.inf
