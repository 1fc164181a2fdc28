"""`kd parity`: whether the running graph computes what the offline pipeline does, on any bag."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from kd_perception.commands.flags import takes
from kd_perception.errors import CalibrationError
from kd_perception.options.arguments import Arguments
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.option import option
from kd_perception.parity.bag_frames import BagWalk, detect
from kd_perception.parity.comparison import ParityReport, compare
from kd_perception.parity.inputs import BagInputs, detector_of, find_inputs
from kd_perception.parity.live import LiveRun, run_live, write_cut
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.runtime.snapshot import FrameSnapshot
from kd_perception.student.spec import load_student

DETECTOR = (
    *("model", "engine", "threads", "score_threshold", "rectified", "views_per_camera", "ignore_mask"),
    *("base_frame", "odometry_frame", "camera_motion", "sync_tolerance_ms"),
)


@dataclass(frozen=True)
class ParityOptions:
    """What `kd parity` compares."""

    bag: Path | None = option("Folder of a rosbag2, or its .mcap or .db3 file.", default=None, required=True)
    camera: tuple[str, ...] = option(
        "NAME=IMAGE_TOPIC[,INFO_TOPIC], the anchor first; by default all, found by type and name.", default=()
    )
    frames: int = option("How many frames from the beginning are compared.", default=20, limits=(1, 200))
    out: Path | None = option(
        "Folder to keep the graph's stages and logs in; by default they are deleted.", default=None
    )


@takes(Arguments(ParityOptions(), ("bag", "camera", "frames", "out")), Arguments(DetectorOptions(), DETECTOR))
def parity(options: ParityOptions, detector: DetectorOptions) -> None:
    """Play a bag through the running graph and through the offline pipeline, and name the first stage that differs.

    Exit status 0 if pixels, tables, raw outputs and boxes agree, 1 if not.
    """
    console = Console(stderr=True)
    with ExitStack() as stack:
        folder = options.out or Path(stack.enter_context(TemporaryDirectory(prefix="kd_parity_")))
        with console.status("playing the bag through the graph, then offline"):
            report = measure(options, detector, LiveRun(folder))
    print_parity(report, Console())
    if not report.agrees:
        raise typer.Exit(1)


def measure(options: ParityOptions, detector: DetectorOptions, run: LiveRun) -> ParityReport:
    """Both sides of a bag's first frames, compared; raises KdError where one of them cannot begin."""
    inputs = find_inputs(options.bag, _entries(options.camera), detector.camera_names)
    detector = detector_of(inputs, detector)
    needs_pose = load_student(detector.student_file).spec.memory is not None
    cut = run.folder / "cut"
    write_cut(inputs, BagWalk(inputs, detector, needs_pose=needs_pose), options.frames, cut)
    live = run_live(inputs, cut, detector, run)
    offline, rejected = run_offline(inputs, detector, options.frames)
    return compare(live, offline, rejected)


def _entries(texts: Sequence[str]) -> list[str]:
    """Entries that a flag has split at their commas: a topic alone belongs to the camera before it."""
    entries: list[str] = []
    for text in texts:
        if "=" in text or not entries:
            entries.append(text)
        else:
            entries[-1] += f",{text}"
    return entries


def run_offline(inputs: BagInputs, detector: DetectorOptions, most: int) -> tuple[dict[int, FrameSnapshot], int]:
    """Stages of the bag's first `most` frames by stamp (ns), and how many of them were refused."""
    found: dict[int, FrameSnapshot] = {}
    student = load_student(detector.student_file)
    options = PipelineOptions(
        threads=detector.threads,
        cache_folder=detector.engine_cache,
        score_threshold=detector.score_threshold,
        views=detector.views_per_camera,
        watch=lambda snapshot: found.__setitem__(snapshot.stamp_ns, snapshot),
    )
    pipeline = Pipeline(student, detector.engine, len(inputs.cameras), options)
    frames = BagWalk(inputs, detector, needs_pose=pipeline.needs_pose)
    resets = rejected = 0
    for record in islice((record for step in frames.steps() for record in step.frames), most):
        try:
            detect(pipeline, record, resets)
        except CalibrationError:
            rejected += 1
        resets = record.resets
    pipeline.close()
    return found, rejected


def print_parity(report: ParityReport, console: Console) -> None:
    """Print the table, which fits 80 columns, and the sentence."""
    table = Table(
        title=f"live graph and offline pipeline: frames {len(report.stamps_ns)}, boxes {report.boxes}",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for heading in ("stage", "compared", "differ", "greatest", "allowed", "of what", ""):
        table.add_column(heading, justify="left" if heading in ("stage", "of what", "") else "right", no_wrap=True)
    for result in report.stages:
        verdict = "[red]differs[/]" if result.first else "[green]agrees[/]" if result.compared else "-"
        numbers = (str(result.compared), str(result.differing), f"{result.greatest:.2g}", f"{result.stage.allowed:g}")
        table.add_row(result.stage.name, *numbers, result.stage.unit, verdict)
    console.print(table)
    console.print(report.sentence(), soft_wrap=True, markup=False, highlight=False)
