"""`kd bench scheduling`: does it pay to batch rigs, to keep features of unchanged images, to plan by object density?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from kd_bench.options import EngineChoice, EngineName, ReportFile
from kd_bench.scheduling.measure import repeated_share, rigs_of, time_batches, time_cameras, time_densities
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.options.detector import DetectorOptions
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_perception.student.spec import load_student

OBJECTS = (0, 50, 200, 500)
RATES_HZ = ((12.0, 12.0), (10.0, 10.0), (12.0, 6.0), (20.0, 10.0), (30.0, 10.0))  # anchor, other camera
Rows = Sequence[tuple[str, ...]]
BATCHES_HEADINGS = ("one call", "median ms", "ms a rig", "rigs/s, against 1 rig")
CAMERAS_HEADINGS = ("whole network", "median ms", "against all cameras")
REPEATS_HEADINGS = ("anchor Hz", "other camera Hz", "the image of the frame before", "no image")
DENSITY_HEADINGS = ("decoding", "median ms")
BATCHES = """A student file takes one rig. Here its network is exported for several: image and BEV networks run once
for all of them, the view transform once for each. All calls take turns."""
CAMERAS = """A camera whose image is the one of the frame before could lend its features. That saves at best the time of
one camera."""
REPEATS = """Cameras of these rates through the detector's synchroniser, exposures a quarter of the anchor's period
apart. A slower camera's image joins two frames or more; with the slowest as anchor none does."""
DENSITY = """The network's work does not depend on what is seen: decoding is all that could."""


def scheduling(
    *,
    student: Annotated[
        Path | None, typer.Option(help="Single-frame student file, its weights next to it; default: the shipped one.")
    ] = None,
    engine: EngineName = DetectorOptions.engine,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Calls of each kind that count.")] = 15,
    out: ReportFile = None,
) -> None:
    """Measure what batching rigs, unchanged images and object density could bring a scheduler, in one run."""
    console = Console()
    opened = load_student(student or resource(SHIPPED_SINGLE_FRAME_STUDENT))
    choice = EngineChoice(engine, threads)
    with TemporaryDirectory() as folder, console.status("timing"):
        batches = time_batches(opened, choice, rounds, Path(folder))
        cameras = time_cameras(opened, choice, opened.spec.trained_cameras, rounds)
    density = time_densities(opened.spec, OBJECTS, rounds)
    tables = (
        ("Rigs in one call", BATCHES_HEADINGS, batch_rows(batches), BATCHES),
        ("Unchanged images", CAMERAS_HEADINGS, camera_rows(cameras), CAMERAS),
        ("How often an image stays", REPEATS_HEADINGS, repeat_rows(), REPEATS),
        ("Object density", DENSITY_HEADINGS, median_rows(density), DENSITY),
    )
    for title, headings, rows, _ in tables:
        console.print(terminal_table(title, headings, rows))
    if out is not None:
        body = "\n\n".join(
            f"## {title}\n\n{markdown_table(headings, rows)}\n\n{text}" for title, headings, rows, text in tables
        )
        write_report(out, "What could be scheduled", {"student": f"{opened.model_id} on {engine}"}, body)


def median_rows(times: Mapping[str, Sequence[float]]) -> Rows:
    """Medians by name."""
    return [(name, f"{np.median(times[name]):.1f}") for name in times]


def batch_rows(times: Mapping[str, Sequence[float]]) -> Rows:
    """Each call's median, and how many rigs are answered in a second, against calls of one rig."""
    medians = {name: float(np.median(taken)) for name, taken in times.items()}
    alone = next(iter(medians.values()))
    return [
        (name, f"{ms:.1f}", f"{ms / rigs_of(name):.1f}", f"{rigs_of(name) * alone / ms:.2f} x")
        for name, ms in medians.items()
    ]


def camera_rows(times: Mapping[str, Sequence[float]]) -> Rows:
    """Each rig's median, and its share of the first."""
    medians = {name: float(np.median(taken)) for name, taken in times.items()}
    first = next(iter(medians.values()))
    return [(name, f"{ms:.1f}", f"{100.0 * ms / first:.0f} %") for name, ms in medians.items()]


def repeat_rows() -> Rows:
    """Shares of frames in which another camera repeats its image, or has none, by rates."""
    tolerance_s, deadline_s = DetectorOptions.sync_tolerance_ms / 1e3, DetectorOptions.sync_deadline_ms / 1e3
    rows = []
    for anchor_hz, camera_hz in RATES_HZ:
        repeated, missing = repeated_share(anchor_hz, camera_hz, tolerance_s, deadline_s)
        rows.append((f"{anchor_hz:g}", f"{camera_hz:g}", f"{100.0 * repeated:.0f} %", f"{100.0 * missing:.0f} %"))
    return rows
