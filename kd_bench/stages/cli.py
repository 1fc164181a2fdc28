"""`kd bench pipeline` and `kd bench parity`: time per stage next to eager PyTorch, and whether the engines agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.dataset_frames import BenchFrame, count_missing, read_frames, render_frames
from kd_bench.options import EngineChoice, EngineName, ReportFile, TablesVersion, Threads
from kd_bench.progress import progress_bars
from kd_bench.stages.measure import measure_stages
from kd_bench.stages.parity import (
    MATCHED_SHARE,
    REFERENCE,
    ROUNDING,
    measure_parity,
    parity_markdown,
    parity_table,
)
from kd_bench.stages.rows import graph_rows, headings, stage_rows
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_bench.untrained import untrained_student
from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.engines.base import engine_names, open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import ConfigError, EngineError
from kd_perception.evaluation.graph_run import GraphRun, replay_bag
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.parity.tolerances import RAW_TOLERANCE
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.student.spec import Student, load_student
from kd_training.config.experiment import load_student_config

GRAPH_HEADINGS = ("stage", "median ms", "p95 ms")
GRAPH_TIMEOUT_S = 600.0
RENDERED_FRAMES = 20  # keyframes of the scene that is rendered where no data set is given
METHOD = """*Preprocess* is decoding, resizing and batching the images. *Whole network* is the file in one piece;
image network, view transform and BEV network are the same file cut in three and run one after the other. Engine and
PyTorch take turns on every frame, and their outputs are compared; the table shows PyTorch's faster memory layout.
*Decode* turns output maps into boxes; *messages* are the detection array and markers, serialised."""
GRAPH_METHOD = """A bag of the same images replayed in real time into the running nodes: *end to end* is from the anchor
image's arrival at the detector to the publication of its boxes, *wait* the part spent on waiting for other cameras."""


StudentFile = Annotated[
    Path | None,
    typer.Option(help="Student file, its .safetensors next to it, or the name of a shipped one."),
]
Untrained = Annotated[
    Path | None, typer.Option(help="Training configuration: measure its network with random weights instead.")
]
DataFolder = Annotated[Path | None, typer.Option(help="Data set to take frames from; default: a scene rendered now.")]
Frames = Annotated[int, typer.Option(min=1, help="Frames to measure; a smaller data set repeats with variations.")]


@dataclass(frozen=True)
class FrameSource:
    """The first `count` frames of a data set; without a dataroot, of a scene to be rendered."""

    dataroot: Path | None
    version: str
    count: int


@dataclass(frozen=True)
class StageBench:
    """What a measurement runs on: a student, frames and where they come from, and a folder for scratch files."""

    student: Student
    source: FrameSource
    frames: list[BenchFrame]
    scratch: Path

    @property
    def cameras(self) -> int:
        """Cameras of the rig."""
        return len(self.frames[0].cameras)


def pipeline(
    *,
    student: StudentFile = None,
    untrained: Untrained = None,
    dataroot: DataFolder = None,
    version: TablesVersion = SYNTHETIC_VERSION,
    frames: Frames = 50,
    engine: EngineName = DetectorOptions.engine,
    threads: Threads = 0,
    graph: Annotated[
        bool, typer.Option(help="Also replay a bag through the node graph (needs the ROS packages).")
    ] = True,
    out: ReportFile = None,
    overhead: Annotated[
        Path | None,
        typer.Option(help="Also time the detector outside the engine, and write this Markdown file (needs ROS)."),
    ] = None,
) -> None:
    """Time every stage of a student next to eager PyTorch in the same run, alone and through the node graph."""
    console = Console()
    with _prepared(student, untrained, FrameSource(dataroot, version, frames), console) as bench:
        with progress_bars(console) as bar:
            times = measure_stages(bench.student, bench.frames, engine, threads, bar("timing stages"))
        title = f"{bench.student.spec.name}, {bench.cameras} cameras, medians of {frames} frames"
        body = f"## {title}\n\n{markdown_table(headings(times), stage_rows(times))}\n\n{METHOD}\n"
        console.print(terminal_table(title, headings(times), stage_rows(times)))
        if graph:
            body += _graph_section(bench, EngineChoice(times.engine_name, threads), console)
        if out is not None:
            facts = {"student": bench.student.model_id, "boxes per frame": f"{times.detections:.0f} (median)"}
            write_report(out, "Time per stage", facts, body)
        if overhead is not None:
            _overhead(bench, overhead, console)


def parity(
    *,
    student: StudentFile = None,
    untrained: Untrained = None,
    dataroot: DataFolder = None,
    version: TablesVersion = SYNTHETIC_VERSION,
    frames: Frames = 50,
    threads: Threads = 0,
    out: ReportFile = None,
) -> None:
    """Compare the engines' predictions with PyTorch's; exit status 1 where they differ by more than allowed."""
    console = Console()
    with _prepared(student, untrained, FrameSource(dataroot, version, frames), console) as bench:
        others, refused = _comparable_engines(bench, threads, console)
        with progress_bars(console) as bar:
            results = measure_parity(bench.student, bench.frames, others, threads, bar("comparing engines"))
    console.print(parity_table(results))
    if out is not None:
        missing = f"{count_missing(bench.frames)} of them with a camera missing"
        facts = {
            "student": bench.student.model_id,
            "frames": f"{len(bench.frames)} of {bench.source.dataroot.name}, {missing}",
            "required": f"raw error at most {RAW_TOLERANCE:g} max(1, |reference|), {100 * MATCHED_SHARE:g} % matched",
            "not usable here": ", ".join(refused) or "none",
        }
        write_report(out, "Engines against eager PyTorch", facts, parity_markdown(results))
    differing = [row.engine for row in results if not row.passed]
    if differing:
        raise EngineError(f"{', '.join(differing)} differs from PyTorch by more than allowed; see the table above")


@contextmanager
def _prepared(
    student: Path | None, untrained: Path | None, source: FrameSource, console: Console
) -> Iterator[StageBench]:
    """The student and its frames, which are rendered where no data set is given."""
    if student is not None and untrained is not None:
        raise ConfigError("--student and --untrained exclude each other; give only one of them")
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        if untrained is None:
            opened = load_student(student or resource(SHIPPED_STUDENT))
        else:
            opened = untrained_student(load_student_config(untrained), scratch)
        if source.dataroot is None:
            with console.status("rendering a synthetic scene"):
                rendered = render_frames(scratch / "synthetic", min(source.count, RENDERED_FRAMES))
            source = replace(source, dataroot=rendered, version=SYNTHETIC_VERSION)
        loaded = read_frames(source.dataroot, source.version, source.count)
        yield StageBench(opened, source, loaded, scratch)


def _comparable_engines(bench: StageBench, threads: int, console: Console) -> tuple[list[str], list[str]]:
    """Names of the engines that open the student, and of those that do not; raises EngineError if none does."""
    others, refused = [], []
    for name in engine_names():
        if name in (REFERENCE, *ROUNDING):
            continue
        try:
            open_engine(name, bench.student, bench.cameras, EngineOptions(threads=threads))
            others.append(name)
        except EngineError as error:
            refused.append(name)
            console.print(f"[yellow]not compared:[/yellow] {error}")
    if not others:
        raise EngineError(f"no engine can be compared with PyTorch; none of {', '.join(refused)} opens the student")
    return others, refused


def _overhead(bench: StageBench, out: Path, console: Console) -> None:
    """Time the detector outside the engine, print it, and write it to `out`."""
    from kd_bench.stages.outside_engine import CASES, HEADINGS, METHOD, measure_outside_engine, overhead_rows

    count, measured = bench.source.count, {}
    with progress_bars(console) as bar:
        for case in CASES:
            show = bar(f"outside the engine, {case.transport} images")
            measured[case] = measure_outside_engine(bench.student, bench.frames, case, count, show)
    rows = overhead_rows(measured)
    title = f"outside the engine, {bench.cameras} cameras, ms, medians of {count} frames"
    console.print(terminal_table(title, HEADINGS, rows))
    facts = {"student": bench.student.model_id, "figures": f"milliseconds, medians of {count} frames"}
    write_report(out, "The detector outside the engine", facts, f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}")


def _graph_section(bench: StageBench, engine: EngineChoice, console: Console) -> str:
    """Times of the same frames through the node graph, printed and as Markdown."""
    with console.status("replaying a bag through the node graph"):
        run = _through_the_graph(bench, engine)
    title = f"through the node graph: {len(run.stages)} of {run.frames_in} frames processed"
    console.print(terminal_table(title, GRAPH_HEADINGS, graph_rows(run.stages)))
    table = markdown_table(GRAPH_HEADINGS, graph_rows(run.stages))
    return f"\n## {title.capitalize()}\n\n{table}\n\n{GRAPH_METHOD}\n"


def _through_the_graph(bench: StageBench, engine: EngineChoice) -> GraphRun:
    nusc = open_nuscenes(bench.source.dataroot, bench.source.version)
    bag, student = bench.scratch / "bag", bench.student
    write_scene(nusc, scene_names(nusc)[0], bag)
    detector = DetectorOptions(model=student.path, engine=engine.name, threads=engine.threads)
    run = replay_bag(ReplayOptions(bag=bag), detector, bench.scratch / "graph", timeout_s=GRAPH_TIMEOUT_S)
    if not run.stages:
        raise EngineError(f"the node graph processed none of {run.frames_in} frames; start kd up to see its logs")
    return run
