"""`kd bench precision`: accuracy and speed of a student in several precisions, and the gate of each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from kd_bench.options import DatasetFolder, EngineName, ReportFile, TablesVersion, Threads
from kd_bench.precision.files import check_files, labels_of, origins
from kd_bench.precision.gate import ALLOWED, Loss, loss_of
from kd_bench.precision.layers import sentence, time_layers
from kd_bench.precision.speed import TimedFile, time_files
from kd_bench.progress import Show, progress_bars
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.atomic import write_text
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.engines.openvino_bf16 import OpenVinoBfloat16Engine
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.predictions import detect_scenes
from kd_perception.evaluation.result_folder import RESULTS_FILE, SUMMARY_FILE
from kd_perception.evaluation.results import write_results
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import Student, load_student

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

SCORE_THRESHOLD = 0.02
ANSWERED_FILE = "answered.json"
BF16, BF16_ENGINE = "bf16", OpenVinoBfloat16Engine.name  # no file is in bfloat16: an engine computes FP32's in it
ACCURACY = ("precision", "mAP", "NDS", "lost mAP", "lost NDS", "worst class", "gate")
SPEED = ("precision", "engine", "median ms", "least ms", "x fp32")


@dataclass(frozen=True)
class ComparedPrecision:
    """What tables call a file, in which precision it ran, its metric, and its loss against FP32; None of FP32."""

    label: str
    precision: str
    metrics: Metrics
    loss: Loss | None = None

    @property
    def passes(self) -> bool:
        """Whether the gate of its precision lets it through."""
        return self.loss is None or self.loss.within(ALLOWED[self.precision])


def precision(
    *,
    student: Annotated[Path, typer.Option(help="FP32 student file, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Folder of the results of each file, kept between runs.")],
    dataroot: DatasetFolder,
    other: Annotated[list[Path] | None, typer.Option(help="The same student in another precision; repeatable.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help=f"Also score the FP32 file on {BF16_ENGINE}.")] = False,
    version: TablesVersion = SYNTHETIC_VERSION,
    scenes: Annotated[list[str] | None, typer.Option(help="Scene to use; repeat for more. Default: all.")] = None,
    engine: EngineName = "openvino",
    timed: Annotated[list[str] | None, typer.Option(help="Engine to time the files on; repeatable.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="Turns of the timing.")] = 30,
    threads: Threads = 0,
    report: ReportFile = None,
) -> None:
    """Score a student's precisions on held-out scenes, and time them in one run.

    Exit status 1 if one loses more than its gate allows: int8 and bf16 0.3 points of mAP and NDS and 1.5 of any class,
    fp16 0.05. A run that was stopped continues where it was.
    """
    console = Console()
    files = [load_student(student), *(load_student(path) for path in other or ())]
    check_files(files)
    nusc = open_nuscenes(dataroot, version)
    chosen = scenes or scene_names(nusc)
    entries = [(label, file, engine) for label, file in zip(labels_of(files), files, strict=True)]
    if bf16:
        entries.append((BF16, files[0], BF16_ENGINE))
    compared: list[ComparedPrecision] = []
    with progress_bars(Console(stderr=True)) as bar:
        for label, file, on in entries:
            folder = out / (file.sha256[:12] + (f"_{BF16}" if on == BF16_ENGINE else ""))
            metrics = Scored(nusc, chosen, on).metrics(file, folder, bar(f"{file.spec.name} {label}"))
            loss = loss_of(compared[0].metrics, metrics) if compared else None
            compared.append(ComparedPrecision(label, BF16 if label == BF16 else file.spec.precision, metrics, loss))
    rows = [accuracy_row(entry) for entry in compared]
    console.print(terminal_table(f"{files[0].spec.name}, {len(chosen)} scenes", ACCURACY, rows))
    parts = [markdown_table(ACCURACY, rows), "What was lost is in points (hundredths) below FP32; negative is gained."]
    if timed:
        speeds = speed_rows(time_files(files, timed, turns, threads))
        console.print(terminal_table("whole network, in turns in one run", SPEED, speeds))
        parts += [
            markdown_table(SPEED, speeds),
            f"Whole network of noise images; {turns} turns, threads {threads or 'as the engine chooses'}.",
        ]
    if "openvino" in (timed or ()):
        for file in files[1:]:
            if file.spec.precision == "int8":
                parts.append(f"{file.model_id}: {sentence(time_layers(files[0], file, turns, threads))}")
                console.print(parts[-1], soft_wrap=True)
    if report is not None:
        facts = origins(files)
        facts["data"] = f"{dataroot.name}, {len(chosen)} scenes, score threshold {SCORE_THRESHOLD}, engine {engine}"
        write_report(report, f"Precisions of {files[0].spec.name}", facts, "\n\n".join(parts))
    if not all(entry.passes for entry in compared):
        raise typer.Exit(1)


@dataclass(frozen=True)
class Scored:
    """What all files share: tables, scenes, engine."""

    nusc: "Tables"
    scenes: Sequence[str]
    engine: str

    def metrics(self, student: Student, out: Path, progress: Show) -> Metrics:
        """The metric of a file; it runs unless `out` holds its detections on the same scenes."""
        answered = out / ANSWERED_FILE
        facts = {"model": student.sha256, "data": str(self.nusc.dataroot), "scenes": list(self.scenes)}
        facts |= {"version": self.nusc.version, "threshold": SCORE_THRESHOLD, "engine": self.engine}
        if not answered.is_file() or json.loads(answered.read_text()) != facts:
            answered.unlink(missing_ok=True)
            options = PipelineOptions(score_threshold=SCORE_THRESHOLD)
            with RigPipelines(student, self.engine, options) as pipelines:
                found = detect_scenes(pipelines, self.nusc, self.scenes, progress=progress)
            write_results(out / RESULTS_FILE, found.results)
            write_text(answered, json.dumps(facts, indent=1))
        classes = student.spec.classes
        return evaluate_results(self.nusc, out / RESULTS_FILE, list(self.scenes), out / SUMMARY_FILE, classes=classes)


def accuracy_row(entry: ComparedPrecision) -> tuple[str, ...]:
    """A line of the table, as ACCURACY names it."""
    first = (entry.label, f"{entry.metrics.mean_ap:.4f}", f"{entry.metrics.nds:.4f}")
    loss = entry.loss
    if loss is None:
        return (*first, "", "", "", "")
    worst = f"{loss.worst} {loss.worst_class:.2f}"
    return (*first, f"{loss.mean_ap:.2f}", f"{loss.nds:.2f}", worst, "passes" if entry.passes else "fails")


def speed_rows(timed: Sequence[TimedFile]) -> list[tuple[str, ...]]:
    """Lines of the table, as SPEED names it."""
    full = {entry.engine: entry.median for entry in timed if entry.label == "fp32"}
    exact = {engine: full.get(engine.removesuffix(f"-{BF16}"), full[engine]) for engine in full}
    return [
        (e.label, e.engine, f"{e.median:.1f}", f"{e.least:.1f}", f"{exact[e.engine] / e.median:.2f}") for e in timed
    ]
