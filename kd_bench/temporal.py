"""`kd bench temporal`: a student with memory next to the single-frame one, over frame rates and memory intervals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.options import DatasetFolder, EngineChoice, EngineName, ReportFile, TablesVersion, Threads
from kd_bench.progress import Show, progress_bars
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.atomic import write_text
from kd_perception.datasets.devkit import NuScenes
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import StudentError
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.predictions import FrameFeed, Predictions, detect_scenes
from kd_perception.evaluation.result_folder import RESULTS_FILE, SUMMARY_FILE
from kd_perception.evaluation.results import write_results
from kd_perception.geometry.classes import CLASSES
from kd_perception.options.detector import DetectorOptions
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import MemorySpec, Student, load_student

SCORE_THRESHOLD = 0.02
KEYFRAMES_HZ = 2.0
ANSWERED_FILE = "answered.json"
HEADINGS = ("student", "images at", "memory", "frames with it", "mAP", "NDS", "mATE m", "mAOE rad", "mAVE m/s")
KEYFRAME_INTERVALS_S, CAMERA_INTERVALS_S = (1.0, 0.5), (0.5, 0.2, 0.1)  # ages of the memory that are measured
METHOD = """Keyframes are scored; at more than 2 Hz the temporal student also sees the images between them, as on a
robot. *Memory* is the age of the remembered frame. A robot asks for the age that the student file names as the best;
the others show whether velocity is right for any interval. An interval with * is outside the trained range. *None*
means that the same student runs without odometry, and so without memory. mATE, mAOE and mAVE are means over classes of
the errors of true positives at 2 m."""


@dataclass(frozen=True)
class TemporalCase:
    """One way to run a student: images per second, and the memory's age in seconds, 0 for none."""

    name: str
    student: Student
    camera_hz: float
    interval_s: float

    @property
    def memory(self) -> str:
        """The memory's age as text; with * where the student was not trained with it."""
        memory = self.student.spec.memory
        if memory is None or not self.interval_s:
            return "none"
        trained = memory.shortest_s <= self.interval_s <= memory.longest_s
        return f"{self.interval_s:g} s{'' if trained else '*'}"

    @property
    def label(self) -> str:
        """Student, frame rate and memory."""
        return f"{self.name}, {self.camera_hz:g} Hz, {self.memory}"


@dataclass(frozen=True)
class Measured:
    """A case and its scores; share: of keyframes whose memory was used."""

    case: TemporalCase
    metrics: Metrics
    share: float


def temporal(
    *,
    student: Annotated[Path, typer.Option(help="Student file with memory, or the name of a shipped one.")],
    dataroot: DatasetFolder,
    out: Annotated[Path, typer.Option(help="Folder of the results of each case, kept between runs.")],
    version: TablesVersion = SYNTHETIC_VERSION,
    single: Annotated[Path | None, typer.Option(help="Single-frame student; default: the shipped one.")] = None,
    scenes: Annotated[list[str] | None, typer.Option(help="Scene to use; repeat for more. Default: all.")] = None,
    camera_hz: Annotated[
        float, typer.Option(min=0.0, help="Also run at this rate, with images between keyframes; 0: keyframes only.")
    ] = 10.0,
    engine: EngineName = DetectorOptions.engine,
    threads: Threads = 0,
    report: ReportFile = None,
) -> None:
    """Score a student with memory next to the single-frame one, over frame rates and memory intervals.

    A run that was stopped continues where it was.
    """
    console = Console()
    remembering, forgetful = load_student(student), load_student(single or resource(SHIPPED_SINGLE_FRAME_STUDENT))
    if remembering.spec.memory is None:
        raise StudentError(f"{student} has no memory; give --student a file that was exported from a temporal student")
    nusc = open_nuscenes(dataroot, version)
    chosen = scenes or scene_names(nusc)
    cases = planned_cases(forgetful, remembering, camera_hz)
    bench = TemporalBench(nusc, chosen, EngineChoice(engine, threads))
    with progress_bars(Console(stderr=True)) as bar:
        measured = [bench.measure(case, out / f"{number}", bar(case.label)) for number, case in enumerate(cases)]
    rows = [row_of(entry) for entry in measured]
    console.print(terminal_table(f"temporal memory, {len(chosen)} scenes of {dataroot.name}", HEADINGS, rows))
    if report is not None:
        facts = {
            "single frame": forgetful.model_id,
            "temporal": remembering.model_id,
            "data": f"{dataroot.name}, {len(chosen)} scenes, score threshold {SCORE_THRESHOLD}",
        }
        parts = (markdown_table(HEADINGS, rows), METHOD, "## Velocity error by class, m/s", velocities(measured))
        write_report(report, "Temporal memory", facts, "\n\n".join(parts))


def planned_cases(single: Student, remembering: Student, camera_hz: float) -> list[TemporalCase]:
    """The single-frame student, then the other without memory, with its best interval, and with others."""
    name = remembering.spec.name
    cases = [
        TemporalCase(single.spec.name, single, KEYFRAMES_HZ, 0.0),
        TemporalCase(name, remembering, KEYFRAMES_HZ, 0.0),
    ]
    cases += [TemporalCase(name, remembering, KEYFRAMES_HZ, interval) for interval in KEYFRAME_INTERVALS_S]
    if camera_hz > KEYFRAMES_HZ:
        cases += [TemporalCase(name, remembering, camera_hz, interval) for interval in CAMERA_INTERVALS_S]
    return cases


@dataclass(frozen=True)
class TemporalBench:
    """What all cases share: the data set's tables, its scenes, and the engine."""

    nusc: NuScenes
    scenes: Sequence[str]
    engine: EngineChoice

    def measure(self, case: TemporalCase, out: Path, progress: Show) -> Measured:
        """Score one case, and run it first unless `out` holds its results from an earlier run.

        Results and the metric's summary go to `out`.
        """
        answered = out / ANSWERED_FILE
        facts = {
            "model": case.student.sha256, "camera_hz": case.camera_hz, "interval_s": case.interval_s,
            "data": str(self.nusc.dataroot), "scenes": list(self.scenes),
        }  # fmt: skip
        before = json.loads(answered.read_text()) if answered.is_file() else {}
        with_memory = before.pop("with_memory", 0)
        if before != facts:
            found = self._run(case, progress)
            with_memory = found.with_memory
            answered.unlink(missing_ok=True)
            write_results(out / RESULTS_FILE, found.results)
            write_text(answered, json.dumps({**facts, "with_memory": with_memory}, indent=1))
        metrics = evaluate_results(self.nusc, out / RESULTS_FILE, self.scenes, out / SUMMARY_FILE)
        samples = sum(len(scene_samples(self.nusc, scene)) for scene in self.scenes)
        return Measured(case, metrics, with_memory / samples)

    def _run(self, case: TemporalCase, progress: Show) -> Predictions:
        spec = case.student.spec
        if spec.memory is not None and case.interval_s:
            spec = replace(spec, memory=_asked_for(spec.memory, case.interval_s))
        options = PipelineOptions(threads=self.engine.threads, score_threshold=SCORE_THRESHOLD)
        camera_hz = case.camera_hz if case.camera_hz > KEYFRAMES_HZ else 0.0
        feed = FrameFeed(camera_hz, with_pose=case.interval_s > 0.0)
        with RigPipelines(replace(case.student, spec=spec), self.engine.name, options) as pipelines:
            return detect_scenes(pipelines, self.nusc, self.scenes, feed, progress)


def row_of(measured: Measured) -> tuple[str, ...]:
    """A line of the table, as HEADINGS names it."""
    case, metrics = measured.case, measured.metrics
    return (
        case.name, f"{case.camera_hz:g} Hz", case.memory, f"{100 * measured.share:.0f} %", f"{metrics.mean_ap:.3f}",
        f"{metrics.nds:.3f}", f"{metrics.errors.translation:.2f}",
        f"{metrics.errors.orientation:.2f}", f"{metrics.errors.velocity:.2f}",
    )  # fmt: skip


def velocities(measured: Sequence[Measured]) -> str:
    """Markdown table of each class's velocity error, one column a case."""
    moving = [name for name in CLASSES if all(entry.metrics.classes[name].errors.velocity >= 0 for entry in measured)]
    names = [entry.case.label for entry in measured]
    rows = [(name, *(f"{entry.metrics.classes[name].errors.velocity:.2f}" for entry in measured)) for name in moving]
    return markdown_table(("class", *names), rows)


def _asked_for(memory: MemorySpec, interval_s: float) -> MemorySpec:
    """The memory with another best interval, and its range widened to hold it."""
    shortest, longest = min(memory.shortest_s, interval_s), max(memory.longest_s, interval_s)
    return replace(memory, interval_s=interval_s, shortest_s=shortest, longest_s=longest)
