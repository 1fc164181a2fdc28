"""The command `kd quantise`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import DataError
from kd_perception.student.spec import Student, load_student
from kd_training.quantise.frames import FEWEST, CalibrationSource
from kd_training.quantise.half import halve
from kd_training.quantise.quantising import Quantising, QuantisingPlan, Show, quantise
from kd_training.quantise.ranges import Method
from kd_training.quantise.train import TrainingPlan

FRAMES, STEPS = 120, 0  # that are used, and of the training, whose gain is not measured yet
LISTED = 12  # layers in the table
SHORTENED = 44  # characters of a layer's name in the table


def quantise_command(
    *,
    student: Annotated[Path, typer.Argument(help="FP32 student file of kd export, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Student file to write (.onnx).")],
    dataroot: Annotated[
        Path | None, typer.Option(help="Data set in nuScenes format to calibrate and train with; no label is read.")
    ] = None,
    version: Annotated[str, typer.Option(help="Name of the data set's tables folder.")] = SYNTHETIC_VERSION,
    bag: Annotated[Path | None, typer.Option(help="A recording of the robot, instead of a data set.")] = None,
    frames: Annotated[int, typer.Option(min=FEWEST, help="Frames to use at most.")] = FRAMES,
    steps: Annotated[
        int, typer.Option(min=0, help="Steps of quantisation-aware training, one frame each; 0: calibration alone.")
    ] = STEPS,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of the training.")] = TrainingPlan.learning_rate,
    method: Annotated[Method, typer.Option(help="How ranges are chosen.")] = Method.percentile,
    keep: Annotated[list[str] | None, typer.Option(help="A convolution that stays FP32; repeatable.")] = None,
    sensitivity: Annotated[
        bool, typer.Option(help="Judge each layer alone, and leave the most sensitive ones in FP32.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Chooses frames and their order.")] = 0,
) -> None:
    """Write a student in int8: symmetric Q/DQ with one scale per weight channel, which every engine takes.

    The FP32 file is the teacher: heatmap, boxes and memory of the int8 network are trained to be as its own.
    """
    if (dataroot is None) == (bag is None):
        raise DataError("give what to calibrate with: either --dataroot or --bag")
    source = CalibrationSource(dataroot, version, bag, frames, seed)
    plan = QuantisingPlan(method, TrainingPlan(steps, learning_rate, seed), tuple(keep or ()), sensitive=sensitivity)
    run(load_student(student), out, source, plan)


def run(student: Student, out: Path, source: CalibrationSource, plan: QuantisingPlan) -> None:
    """Quantise with progress bars, and print what became of it."""
    with bars(Console(stderr=True)) as show:
        found = quantise(student, out, source, plan, show)
    report(found, out, Console())


def write_precision(full: Path, out: Path, precision: str, data: tuple[Path, str]) -> None:
    """A FP32 student file as `out` in fp16 or int8; `data`: root and version of what calibrates int8."""
    student = load_student(full)
    if precision == "fp16":
        halve(student, out)
        Console().print(f"{out}: {student.spec.name} in FP16, {out.stat().st_size / 1e6:.1f} MB")
    else:
        plan = QuantisingPlan(Method.percentile, TrainingPlan(STEPS))
        run(student, out, CalibrationSource(*data, None, FRAMES), plan)


@contextmanager
def bars(console: Console) -> Iterator[Show]:
    """Yields a function that adds a progress bar under a text and returns what to call with (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:

        def add(text: str) -> Callable[[int, int], None]:
            task = progress.add_task(text, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield add


def report(found: Quantising, out: Path, console: Console) -> None:
    """Print what became of the student, in at most 80 columns."""
    if found.layers:
        table = Table(title="the most sensitive layers, each int8 alone", box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("layer", "drop of agreement", "MACs", "stays"):
            table.add_column(heading, justify="left" if heading in ("layer", "stays") else "right", no_wrap=True)
        total = sum(found.macs.values())
        for entry in found.layers[:LISTED]:
            share = f"{100 * found.macs[entry.layer] / total:.1f} %"
            stays = "FP32" if entry.layer in found.kept else "int8"
            table.add_row(entry.layer[-SHORTENED:], f"{100 * entry.drop:.2f} %", share, stays)
        console.print(table)
    words = ", ".join(f"{name} {100 * value:.2f} %" for name, value in found.agreements.items())
    console.print(f"agreement of the heatmap with FP32: {words}", soft_wrap=True)
    if "trained" in found.agreements and not found.trained:
        console.print("training did not raise the agreement: the file is the calibrated one", soft_wrap=True)
    console.print(
        f"{out}: {len(found.macs) - len(found.kept)} of {len(found.macs)} convolutions, {100 * found.share:.1f} % of "
        f"their MACs, are int8; {out.stat().st_size / 1e6:.1f} MB",
        soft_wrap=True,
    )
