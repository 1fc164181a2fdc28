"""`kd bench temporal`: a temporal student beside the single-frame one, at several frame rates and memory intervals."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from nuscenes import NuScenes
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.atomic import write_text
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import StudentError
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.predictions import FrameFeed, Predictions, detect_scenes
from kd_perception.evaluation.result_folder import RESULTS_FILE, SUMMARY_FILE
from kd_perception.evaluation.results import write_results
from kd_perception.geometry.boxes import CLASSES
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import MemorySpec, Student, load_student

SCORE_THRESHOLD = 0.02
KEYFRAMES_HZ = 2.0
ANSWERED_FILE = "answered.json"
HEADINGS = ("student", "images at", "memory", "frames with it", "mAP", "NDS", "mATE m", "mAOE rad", "mAVE m/s")
KEYFRAME_INTERVALS_S, CAMERA_INTERVALS_S = (1.0, 0.5), (0.5, 0.2, 0.1)  # ages of the memory that are measured
METHOD = """Keyframes are scored; at more than 2 Hz the temporal student also sees the images between them, as on a
robot. *Memory* is the age of the frame that the ring was asked for: on a robot it asks for the one that the student
file states as the best; the others show whether velocity is right for any interval, those with * outside of what the
student was trained with. Where it says *none*, the same student runs without odometry and so without memory. mATE, mAOE
and mAVE are means over classes of the errors of true positives at 2 m."""


@dataclass(frozen=True)
class TemporalCase:
    """One way to run a student: images per second, and the memory's age in seconds, 0 for none."""

    name: str
    student: Student
    camera_hz: float
    interval_s: float


@dataclass(frozen=True)
class Measured:
    """A case and what it reached; share: of keyframes whose memory was used."""

    case: TemporalCase
    metrics: Metrics
    share: float


def temporal(
    student: Annotated[Path, typer.Option(help="The temporal student file.")],
    dataroot: Annotated[Path, typer.Option(help="Data set to score on.")],
    out: Annotated[Path, typer.Option(help="Folder for the results of each case.")],
    version: Annotated[str, typer.Option(help="Name of the data set's tables folder.")] = SYNTHETIC_VERSION,
    single: Annotated[Path | None, typer.Option(help="Single-frame student; default: the shipped one.")] = None,
    scenes: Annotated[list[str] | None, typer.Option(help="Scene to use; repeat for more. Default: all.")] = None,
    camera_hz: Annotated[
        float, typer.Option(min=0.0, help="Also run at this rate, with images between keyframes; 0: do not.")
    ] = 10.0,
    engine: Annotated[str, typer.Option(help="auto, openvino, onnxruntime or another installed engine.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the engine; 0 lets it choose.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Markdown file for the tables.")] = None,
) -> None:
    """Score a temporal student beside the single-frame one: mAP, NDS, mAVE at 2 Hz and more, over memory intervals;
    resumable."""
    console = Console()
    remembering, forgetful = load_student(student), load_student(single or resource(SHIPPED_SINGLE_FRAME_STUDENT))
    if remembering.spec.memory is None:
        raise StudentError(f"{student} has no memory; give a temporal student with --student")
    nusc = open_nuscenes(dataroot, version)
    chosen = scenes or scene_names(nusc)
    cases = planned_cases(forgetful, remembering, camera_hz)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    measured = []
    with Progress(*columns, console=Console(stderr=True)) as bars:
        for number, case in enumerate(cases):
            task = bars.add_task(f"{case.name}, {case.camera_hz:g} Hz, {_memory(case)}", total=None)
            shown = partial(_show, bars, task)
            measured.append(measure(case, nusc, chosen, out / f"{number}", engine, threads, shown))
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
    """What is run: the single-frame student, the other without memory, with the best, and with other intervals."""
    name = remembering.spec.name
    cases = [
        TemporalCase(single.spec.name, single, KEYFRAMES_HZ, 0.0),
        TemporalCase(name, remembering, KEYFRAMES_HZ, 0.0),
    ]
    cases += [TemporalCase(name, remembering, KEYFRAMES_HZ, interval) for interval in KEYFRAME_INTERVALS_S]
    if camera_hz > KEYFRAMES_HZ:
        cases += [TemporalCase(name, remembering, camera_hz, interval) for interval in CAMERA_INTERVALS_S]
    return cases


def measure(
    case: TemporalCase,
    nusc: NuScenes,
    scenes: Sequence[str],
    out: Path,
    engine: str,
    threads: int,
    progress: Callable[[int, int], None],
) -> Measured:
    """Run one case, unless its results are in `out` from an earlier run, and score it; results and the metric's summary
    go to `out`, `progress(done, total)` hears of it."""
    answered = out / ANSWERED_FILE
    facts = {
        "model": case.student.sha256, "camera_hz": case.camera_hz, "interval_s": case.interval_s,
        "data": str(nusc.dataroot), "scenes": list(scenes),
    }  # fmt: skip
    before = json.loads(answered.read_text()) if answered.is_file() else {}
    with_memory = before.pop("with_memory", 0)
    if before != facts:
        answers = _run(case, nusc, scenes, engine, threads, progress)
        with_memory = answers.with_memory
        answered.unlink(missing_ok=True)
        write_results(out / RESULTS_FILE, answers.results)
        write_text(answered, json.dumps({**facts, "with_memory": with_memory}, indent=1))
    metrics = evaluate_results(nusc, out / RESULTS_FILE, scenes, out / SUMMARY_FILE)
    samples = sum(len(scene_samples(nusc, scene)) for scene in scenes)
    return Measured(case, metrics, with_memory / samples)


def _run(
    case: TemporalCase,
    nusc: NuScenes,
    scenes: Sequence[str],
    engine: str,
    threads: int,
    progress: Callable[[int, int], None],
) -> Predictions:
    first = load_frame(nusc, scene_samples(nusc, scenes[0])[0])
    spec = case.student.spec
    if spec.memory is not None and case.interval_s:
        spec = replace(spec, memory=_asked_for(spec.memory, case.interval_s))
    options = PipelineOptions(threads=threads, score_threshold=SCORE_THRESHOLD)
    pipeline = Pipeline(replace(case.student, spec=spec), engine, len(first.images), options)
    camera_hz = case.camera_hz if case.camera_hz > KEYFRAMES_HZ else 0.0
    answers = detect_scenes(pipeline, nusc, scenes, FrameFeed(camera_hz, with_pose=case.interval_s > 0.0), progress)
    pipeline.close()
    return answers


def row_of(measured: Measured) -> tuple[str, ...]:
    """A line of the table, as HEADINGS names it."""
    case, metrics = measured.case, measured.metrics
    return (
        case.name, f"{case.camera_hz:g} Hz", _memory(case), f"{100 * measured.share:.0f} %", f"{metrics.mean_ap:.3f}",
        f"{metrics.nds:.3f}", f"{metrics.errors.translation:.2f}",
        f"{metrics.errors.orientation:.2f}", f"{metrics.errors.velocity:.2f}",
    )  # fmt: skip


def velocities(measured: Sequence[Measured]) -> str:
    """Markdown table of each class's velocity error, one column a case."""
    moving = [name for name in CLASSES if all(entry.metrics.classes[name].errors.velocity >= 0 for entry in measured)]
    names = [f"{entry.case.name}, {entry.case.camera_hz:g} Hz, {_memory(entry.case)}" for entry in measured]
    rows = [(name, *(f"{entry.metrics.classes[name].errors.velocity:.2f}" for entry in measured)) for name in moving]
    return markdown_table(("class", *names), rows)


def _show(bars: Progress, task: TaskID, done: int, total: int) -> None:
    bars.update(task, completed=done, total=total)


def _asked_for(memory: MemorySpec, interval_s: float) -> MemorySpec:
    """The memory with another best interval, and its range widened to hold it."""
    shortest, longest = min(memory.shortest_s, interval_s), max(memory.longest_s, interval_s)
    return replace(memory, interval_s=interval_s, shortest_s=shortest, longest_s=longest)


def _memory(case: TemporalCase) -> str:
    memory = case.student.spec.memory
    if memory is None or not case.interval_s:
        return "none"
    trained = memory.shortest_s <= case.interval_s <= memory.longest_s
    return f"{case.interval_s:g} s{'' if trained else '*'}"
