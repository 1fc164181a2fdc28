"""`kd bench latency`: every operator against the machine's limits, other engines, and frames from bytes to boxes."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.dataset_frames import MOMENTS, read_frames, render_moments
from kd_bench.in_precision import Precision, student_in_precision
from kd_bench.latency.frames import LatencySetup
from kd_bench.latency.limits import MachineLimits, measure_limits
from kd_bench.latency.network import PROFILES, measure_network, with_eager
from kd_bench.latency.picture import draw_flames
from kd_bench.latency.report import METHOD, NetworkReport, network_markdown
from kd_bench.latency.stages import HEADINGS, stage_rows, stage_sums
from kd_bench.options import ReportFile
from kd_bench.tables import terminal_table, write_report
from kd_bench.untrained import untrained_student
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import ConfigError
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.student.spec import Student, load_student
from kd_training.checkpoints.export import example_inputs
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import load_student_config


def latency(
    *,
    student: Annotated[
        list[Path] | None, typer.Option(help="Student file of any precision, or a shipped one's name; repeatable.")
    ] = None,
    untrained: Annotated[
        list[Path] | None, typer.Option(help="Training configuration to measure with random weights, too; repeatable.")
    ] = None,
    int8: Annotated[bool, typer.Option(help="Measure the untrained networks in int8, too.")] = False,
    engine: Annotated[str, typer.Option(help="Whose operators are measured: openvino or onnxruntime.")] = "openvino",
    threads: Annotated[int, typer.Option(min=0, help="Threads of every engine; 0: one a core.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all run in turn.")] = 10,
    torch: Annotated[bool, typer.Option(help="Also time eager and compiled PyTorch.")] = True,
    work: Annotated[Path, typer.Option(help="Folder that keeps the rendered frames for the next time.")] = Path(
        "out/soak"
    ),
    out: ReportFile = None,
) -> None:
    """Time every operator against this machine's limits, next to PyTorch and other engines in the same run."""
    if engine not in PROFILES:
        raise ConfigError(f"engine {engine} has no profile to read; choose one of {', '.join(PROFILES)}")
    console = Console()
    threads = threads or len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder, console.status("rendering eight moments at 1600x900 (once)"):
        scratch = Path(folder)
        frames = read_frames(render_moments(work / "data"), SYNTHETIC_VERSION, MOMENTS)
        students = [load_student(path) for path in student or (() if untrained else (resource(SHIPPED_STUDENT),))]
        for path in untrained or ():
            students += _untrained(path, scratch, int8=int8)
        console.print("measuring the machine's limits")
        limits = measure_limits(threads)
        measured = LatencySetup(frames, engine, threads, rounds)
        reports = []
        for index, opened in enumerate(students):
            (scratch / str(index)).mkdir()
            reports.append(measure_network(opened, measured, scratch / str(index), torch=torch))
            sums = stage_sums(reports[-1].operators, limits)
            console.print(terminal_table(opened.model_id, HEADINGS, stage_rows(sums)))
    reports = with_eager(reports)
    body = "\n\n".join(network_markdown(report, limits) for report in reports)
    console.print(body)
    if out is not None:
        _write(out, reports, limits, body)


def _untrained(config: Path, folder: Path, *, int8: bool) -> list[Student]:
    """A configuration's network with random weights, and in int8: ranges of noise are as fast as those of frames."""
    model = load_student_config(config)
    students = [untrained_student(model, folder)]
    if int8:
        inputs = example_inputs(load_model(students[0].path.with_suffix(".safetensors")), model.model.cameras).by_name
        students.append(student_in_precision(students[0], Precision.int8, inputs))
    return students


def _write(out: Path, reports: Sequence[NetworkReport], limits: MachineLimits, body: str) -> None:
    picture = out.with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw_flames([(report.title, report.operators) for report in reports], limits, picture)
    facts = {"threads": str(limits.threads)} | dict(limits.rows())
    write_report(out, "Operators against the machine", facts, f"![Flames]({picture.name})\n\n{body}\n\n{METHOD}")
