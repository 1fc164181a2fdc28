"""`kd bench pipeline` and `kd bench parity`: time per stage beside eager PyTorch, and whether the engines agree."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_bench.frames import BenchFrame, count_missing, read_frames, render_frames
from kd_bench.stages.measure import measure_stages
from kd_bench.stages.parity import (
    MATCHED_SHARE,
    RAW_TOLERANCE,
    REFERENCE,
    measure_parity,
    parity_markdown,
    parity_table,
)
from kd_bench.stages.rows import graph_rows, headings, stage_rows
from kd_bench.stages.untrained import untrained_student
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.engines.base import engine_names, open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import ConfigError, EngineError
from kd_perception.evaluation.graph_run import GraphRun, replay_bag
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.student.spec import Student, load_student
from kd_training.config.experiment import load_student_config

GRAPH_HEADINGS = ("stage", "median ms", "p95 ms")
GRAPH_TIMEOUT_S = 600.0
RENDERED_FRAMES = 20  # keyframes of the scene that is rendered where no data set is given
METHOD = """*Preprocess* is decoding, resizing and batching the images. *Whole network* is the file in one piece;
image network, view transform and BEV network are the same file cut in three and run one after the other. Engine and
PyTorch take turns on every frame and their outputs are compared; PyTorch's faster memory layout is shown. *Decode* is
from output maps to boxes, *messages* the detection array and markers, serialised."""
GRAPH_METHOD = """A bag of the same images replayed in real time into the running nodes: *end to end* is from the anchor
image's arrival at the detector to the publication of its boxes, *wait* what it spent waiting for the other cameras."""


StudentFile = Annotated[
    Path | None, typer.Option(help="Student file, its .safetensors beside it; default: the shipped one.")
]
Untrained = Annotated[
    Path | None, typer.Option(help="Training configuration: measure its network with random weights instead.")
]
DataFolder = Annotated[Path | None, typer.Option(help="Data set to take frames from; default: a scene rendered now.")]
Version = Annotated[str, typer.Option(help="Name of the data set's tables folder.")]
Frames = Annotated[int, typer.Option(min=1, help="Frames to measure; a smaller data set repeats, varied.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads of the engine and of PyTorch; 0 lets them choose.")]
Out = Annotated[Path | None, typer.Option(help="Markdown file for the table, e.g. docs/benchmarks/pipeline.md.")]


def pipeline(
    student: StudentFile = None,
    untrained: Untrained = None,
    dataroot: DataFolder = None,
    version: Version = SYNTHETIC_VERSION,
    frames: Frames = 50,
    engine: Annotated[str, typer.Option(help="Engine to time: auto or an installed one.")] = "auto",
    threads: Threads = 0,
    graph: Annotated[
        bool, typer.Option(help="Also replay a bag through the node graph (needs the ROS packages).")
    ] = True,
    out: Out = None,
    overhead: Annotated[
        Path | None,
        typer.Option(help="Also time the detector outside the engine, and write this Markdown file (needs ROS)."),
    ] = None,
) -> None:
    """Time every stage of a student beside eager PyTorch in the same run, alone and through the node graph."""
    console = Console()
    with _prepared(student, untrained, dataroot, version, frames, console) as (opened, root, tables, scratch):
        _pipeline(opened, root, tables, frames, engine, threads, graph, scratch, out, console)
        if overhead is not None:
            _overhead(opened, read_frames(root, tables, frames), frames, overhead, console)


def parity(
    student: StudentFile = None,
    untrained: Untrained = None,
    dataroot: DataFolder = None,
    version: Version = SYNTHETIC_VERSION,
    frames: Frames = 50,
    threads: Threads = 0,
    out: Out = None,
) -> None:
    """Compare the engines' answers with PyTorch's; exit status 1 where they differ by more than allowed."""
    console = Console()
    with _prepared(student, untrained, dataroot, version, frames, console) as (opened, root, tables, _):
        _parity(opened, root, tables, frames, threads, out, console)


@contextmanager
def _prepared(
    student: Path | None, untrained: Path | None, dataroot: Path | None, version: str, frames: int, console: Console
) -> Iterator[tuple[Student, Path, str, Path]]:
    """The student, its frames' data set and tables (rendered where none is given), and a folder for scratch files."""
    if student is not None and untrained is not None:
        raise ConfigError("--student and --untrained exclude each other; give the one to measure")
    with TemporaryDirectory() as scratch:
        opened = _open(student, untrained, Path(scratch))
        if dataroot is None:
            with console.status("rendering a synthetic scene"):
                folder = Path(scratch) / "synthetic"
                dataroot, version = render_frames(folder, min(frames, RENDERED_FRAMES)), SYNTHETIC_VERSION
        yield opened, dataroot, version, Path(scratch)


def _open(student: Path | None, untrained: Path | None, scratch: Path) -> Student:
    if untrained is None:
        return load_student(student or resource(SHIPPED_STUDENT))
    return untrained_student(load_student_config(untrained), scratch)


def _parity(
    student: Student, dataroot: Path, version: str, frames: int, threads: int, out: Path | None, console: Console
) -> None:
    loaded = read_frames(dataroot, version, frames)
    others, refused = [], []
    for name in engine_names():
        try:
            if name != REFERENCE:
                open_engine(name, student, len(loaded[0].cameras), EngineOptions(threads=threads))
                others.append(name)
        except EngineError as error:
            refused.append(name)
            console.print(f"[yellow]not compared:[/yellow] {error}")
    if not others:
        raise EngineError(f"no engine could be compared with PyTorch; none of {', '.join(refused)} opens the student")
    with _bar("comparing engines", console) as progress:
        results = measure_parity(student, loaded, others, threads, progress)
    console.print(parity_table(results))
    if out is not None:
        facts = {
            "student": student.model_id,
            "frames": f"{len(loaded)} of {dataroot.name}, {count_missing(loaded)} of them with a camera missing",
            "required": f"raw error at most {RAW_TOLERANCE:g} max(1, |reference|), {100 * MATCHED_SHARE:g} % matched",
            "not usable here": ", ".join(refused) or "none",
        }
        write_report(out, "Engines against eager PyTorch", facts, parity_markdown(results))
    differing = [row.engine for row in results if not row.passed]
    if differing:
        raise EngineError(f"{', '.join(differing)} differs from PyTorch by more than allowed; see the table above")


def _pipeline(
    student: Student, dataroot: Path, version: str, frames: int, engine: str, threads: int, graph: bool, scratch: Path,
    out: Path | None, console: Console,
) -> None:  # fmt: skip
    loaded = read_frames(dataroot, version, frames)
    with _bar("timing stages", console) as progress:
        times = measure_stages(student, loaded, engine, threads, progress)
    title = f"{student.spec.name}, {len(loaded[0].cameras)} cameras, medians of {frames} frames"
    body = f"## {title}\n\n{markdown_table(headings(times), stage_rows(times))}\n\n{METHOD}\n"
    console.print(terminal_table(title, headings(times), stage_rows(times)))
    if graph:
        with console.status("replaying a bag through the node graph"):
            run = _through_the_graph(student, dataroot, version, times.engine_name, threads, scratch)
        title = f"through the node graph: {len(run.stages)} of {run.frames_in} frames answered"
        console.print(terminal_table(title, GRAPH_HEADINGS, graph_rows(run.stages)))
        table = markdown_table(GRAPH_HEADINGS, graph_rows(run.stages))
        body += f"\n## {title.capitalize()}\n\n{table}\n\n{GRAPH_METHOD}\n"
    if out is not None:
        facts = {"student": student.model_id, "boxes per frame": f"{times.detections:.0f} (median)"}
        write_report(out, "Time per stage", facts, body)


def _overhead(student: Student, loaded: list[BenchFrame], frames: int, out: Path, console: Console) -> None:
    from kd_bench.stages.outside_engine import CASES, HEADINGS, METHOD, measure_outside_engine, overhead_rows

    measured = {}
    for case in CASES:
        with _bar(f"outside the engine, {case.transport} images", console) as progress:
            measured[case] = measure_outside_engine(student, loaded, case, frames, progress)
    rows = overhead_rows(measured)
    title = f"outside the engine, {len(loaded[0].cameras)} cameras, ms, medians of {frames} frames"
    console.print(terminal_table(title, HEADINGS, rows))
    facts = {"student": student.model_id, "figures": f"milliseconds, medians of {frames} frames"}
    write_report(out, "The detector outside the engine", facts, f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}")


def _through_the_graph(
    student: Student, dataroot: Path, version: str, engine: str, threads: int, scratch: Path
) -> GraphRun:
    nusc = open_nuscenes(dataroot, version)
    bag = scratch / "bag"
    write_scene(nusc, scene_names(nusc)[0], bag)
    run = replay_bag(
        bag, student.path, scratch / "graph", engine, lockstep=False, threads=threads, timeout_s=GRAPH_TIMEOUT_S
    )
    if not run.stages:
        raise EngineError(f"the node graph answered none of {run.frames_in} frames; run kd up to see its logs")
    return run


@contextmanager
def _bar(text: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(text, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
