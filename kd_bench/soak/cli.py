"""`kd bench soak`: the running detector under load for minutes: lost frames, memory, latency, processor time."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kd_bench.dataset_frames import render_moments
from kd_bench.options import EngineChoice, EngineName, ReportFile, StudentFile, Threads
from kd_bench.soak.bag import CAMERA_HZ, write_soak_bag
from kd_bench.soak.load import Load, LoadTarget, run_load
from kd_bench.soak.pipeline_without_ros import measure_alone, read_bag_frames
from kd_bench.soak.report import (
    SHARE,
    STAGE_HEADINGS,
    LearningRun,
    Soaked,
    continual_verdict,
    stage_rows,
    verdicts,
    write_soak_report,
)
from kd_bench.tables import terminal_table
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.student.spec import load_student

ALONE_S = 20.0  # before and after the load together
CAPACITY_S = 20.0
OVERLOAD = 1.2  # of the pipeline's own rate; offered to find the graph's capacity


def soak(
    *,
    minutes: Annotated[float, typer.Option(min=0.1, help="Duration of the load.")] = 10.0,
    student: StudentFile = None,
    engine: EngineName = DetectorOptions.engine,
    threads: Threads = 0,
    bag: Annotated[
        Path | None, typer.Option(help="Bag of six cameras and a cloud at 10 Hz; default: rendered at 1600x900.")
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Teacher file: also measure the rate with it and the recorder running."),
    ] = None,
    niceness: Annotated[
        int, typer.Option(min=0, max=19, help="How far teacher and recorder step back for the detector.")
    ] = TeacherOptions.niceness,
    work: Annotated[Path, typer.Option(help="Folder that keeps the rendered bag for the next time.")] = Path(
        "out/soak"
    ),
    out: ReportFile = None,
) -> None:
    """Play a bag in a loop at 80 % of the node graph's capacity and report the outcome of every frame."""
    console = Console()
    bag = bag or _rendered_bag(work, console)
    opened = load_student(student or resource(SHIPPED_STUDENT))
    frames = read_bag_frames(bag)
    with console.status("timing the pipeline alone"):
        before = measure_alone(opened, frames, engine, threads, ALONE_S / 2.0)
    target = LoadTarget(bag, opened.path, frames.names, EngineChoice(engine, threads))
    rate = OVERLOAD * before.overlapped_hz / CAMERA_HZ

    def overloaded(text: str, target: LoadTarget) -> Load:
        with _bar(text, CAPACITY_S, console) as progress:
            return run_load(target, rate=rate, seconds=CAPACITY_S, progress=progress)

    overload = overloaded("measuring the graph's capacity", target)
    capacity_hz = overload.answered_hz
    learning = None
    if teacher is not None:
        with recording_folder(work) as kept:
            with_teacher = replace(target, teacher=teacher, recording=kept, niceness=niceness)
            learnt = overloaded("with teacher and recorder", with_teacher)
        after = overloaded("without them again", target)
        learning = LearningRun(learnt, (capacity_hz, after.answered_hz))
    rate = SHARE * capacity_hz / CAMERA_HZ
    with _bar(f"{SHARE:.0%} of {capacity_hz:.1f} frames/s", 60.0 * minutes, console) as progress:
        load = run_load(target, rate=rate, seconds=60.0 * minutes, progress=progress)
    with console.status("timing the pipeline alone again"):
        alone = before.joined(measure_alone(opened, frames, engine, threads, ALONE_S / 2.0))
    console.print(terminal_table("stages", STAGE_HEADINGS, stage_rows(load, alone)))
    costs = [] if learning is None else [continual_verdict(learning)]
    for sentence in (*verdicts(load, alone), *costs):
        console.print(sentence)
    if out is not None:
        write_soak_report(out, opened.model_id, Soaked(load, alone, overload, learning))
        console.print(f"wrote [bold]{out}[/bold]")


def _rendered_bag(work: Path, console: Console) -> Path:
    bag = work / "bag"
    if not bag.is_dir():
        with console.status("rendering eight moments at 1600x900 (a minute or two, once)"):
            dataroot = render_moments(work / "data")
        with _bar("writing the bag", 1.0, console) as progress:
            write_soak_bag(dataroot, SYNTHETIC_VERSION, bag, lambda done, total: progress(done / total))
    return bag


@contextmanager
def recording_folder(work: Path) -> Iterator[Path]:
    """A folder below `work`, on the disk where a robot would record; gone with what was recorded at the end."""
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="recording_", dir=work) as folder:
        yield Path(folder) / "kept"


@contextmanager
def _bar(text: str, total: float, console: Console) -> Iterator:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(text, total=total)
        yield lambda done: bars.update(task, completed=done)
