"""`kd eval`: a student over a nuScenes-format data set, without ROS, scored with the nuScenes metric."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.datasets.nuscenes import Frame, at_anchor, load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.datasets.timeline import CameraTimeline, camera_timelines
from kd_perception.errors import DataError
from kd_perception.evaluation.html import write_html
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.pictures import draw_samples, spread, write_pictures
from kd_perception.evaluation.report import RunReport, by_stage, make_report, write_report
from kd_perception.evaluation.results import Results, sample_result, write_results
from kd_perception.evaluation.table import metrics_table
from kd_perception.runtime.bev_memory import MEMORY_USED
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import load_student

if TYPE_CHECKING:
    from nuscenes import NuScenes

RESULT_FILE, SUMMARY_FILE, REPORT_FILE, HTML_FILE = (
    "results_nusc.json",
    "metrics_summary.json",
    "report.json",
    "report.html",
)


@dataclass(frozen=True)
class Answers:
    """A student's answers: result-file entries by sample, each frame's stage times in milliseconds, and how many of the
    samples were answered with memory."""

    results: Results
    stages: list[dict[str, float]]
    with_memory: int


def detect_scenes(
    pipeline: Pipeline,
    nusc: "NuScenes",
    scenes: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    camera_hz: float = 0.0,
    with_pose: bool = True,
    camera_motion: bool = False,
    cameras: Collection[str] | None = None,
) -> Answers:
    """Run the pipeline on every keyframe of `scenes`; `progress(done, total)` after each.

    A student with memory also sees the images between keyframes, at about `camera_hz` if it is not 0; only keyframes
    are answered. `with_pose` False keeps it without odometry, and so without memory. `camera_motion` places each
    camera where it was at its own exposure. `cameras`: names of those whose images are used, the others are masked;
    None: all. Raises DataError if an image file is missing or damaged: a score over fewer images would not be the
    student's.
    """
    results: Results = {}
    stages = []
    with_memory = 0
    timelines = camera_timelines(nusc, scenes)
    total = sum(bool(sample) for timeline in timelines.values() for sample in timeline.samples)
    for scene in scenes:
        pipeline.reset(f"scene {scene} begins")
        for frame in _moments(timelines[scene], camera_hz if pipeline.needs_pose else 0.0):
            detections = _detect(pipeline, at_anchor(frame) if camera_motion else frame, with_pose, cameras)
            if not frame.sample_token:
                continue
            results[frame.sample_token] = sample_result(frame.sample_token, detections.boxes, frame.global_from_ego)
            stages.append(detections.stage_ms)
            with_memory += detections.memory_state == MEMORY_USED
            if progress is not None:
                progress(len(stages), total)
    return Answers(results, stages, with_memory)


def _moments(timeline: CameraTimeline, camera_hz: float) -> Iterator[Frame]:
    """The keyframes, and the moments between that lie 3/4 of a period of `camera_hz` apart; 0: none."""
    keyframes = timeline.stamps_us[[bool(sample) for sample in timeline.samples]]
    last_us = -np.inf
    for index, stamp_us in enumerate(timeline.stamps_us):
        if not timeline.samples[index]:
            if not camera_hz:
                continue
            apart_us = min(stamp_us - last_us, *np.abs(keyframes - stamp_us))
            if apart_us < 0.75e6 / camera_hz:
                continue
        last_us = stamp_us
        yield timeline.frame(index)


def _detect(pipeline: Pipeline, frame: Frame, with_pose: bool, cameras: Collection[str] | None) -> FrameRecord:
    pipeline.set_rig([image.camera for image in frame.images])
    images = [image.read() if cameras is None or image.camera.name in cameras else None for image in frame.images]
    pose = frame.global_from_ego if with_pose else None
    detections = pipeline.detect(images, 1000 * frame.timestamp_us, pose)
    if detections.rejected:
        camera, reason = next(iter(detections.rejected.items()))
        path = next(image.path for image in frame.images if image.camera.name == camera)
        raise DataError(f"{path}: {reason}")
    return detections


def write_evaluation(
    out: Path,
    title: str,
    nusc: "NuScenes",
    scenes: Sequence[str],
    results: Results,
    stages: Sequence[dict[str, float]],
    report: RunReport,
    picture_count: int = 4,
    notes: Sequence[str] = (),
    **runs: RunReport,
) -> Metrics:
    """Score `results`; write them, metrics_summary.json, report.json, report.html and pictures/ into `out`."""
    write_results(out / RESULT_FILE, results)
    metrics = evaluate_results(nusc, out / RESULT_FILE, scenes, out / SUMMARY_FILE)
    pictures = draw_samples(nusc, results, spread(list(results), picture_count))
    write_pictures(out / "pictures", pictures)
    write_report(out / REPORT_FILE, report, **runs)
    write_html(out / HTML_FILE, title, report, metrics, by_stage(stages), pictures, notes)
    return metrics


def evaluate(
    student: Annotated[Path, typer.Option(help="Student file (.onnx), as kd export writes it.")],
    dataroot: Annotated[Path, typer.Option(help="Folder of the data set: holds samples/ and the tables' folder.")],
    version: Annotated[str, typer.Option(help="Name of the tables' folder, e.g. v1.0-mini.")],
    out: Annotated[Path, typer.Option(help="Folder for results, scores, report and pictures.")],
    scenes: Annotated[list[str] | None, typer.Option(help="Scene to evaluate; repeat for more. Default: all.")] = None,
    engine: Annotated[str, typer.Option(help="auto, openvino, onnxruntime or another installed engine.")] = "auto",
    score_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Detections with a lower score are left out.")
    ] = 0.1,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the engine; 0 lets it choose.")] = 0,
    camera_hz: Annotated[
        float, typer.Option(min=0.0, help="Students with memory: feed images between keyframes, too; 0: do not.")
    ] = 0.0,
    camera_motion: Annotated[
        bool, typer.Option("--camera-motion", help="Place each camera where it was at its own exposure.")
    ] = False,
    views: Annotated[
        int, typer.Option(min=1, help="Crops of each image, side by side: 3 for fisheyes, which show objects small.")
    ] = 1,
) -> None:
    """Run a student over a nuScenes-format data set without ROS, and score it with the nuScenes metric."""
    console = Console(stderr=True)
    opened = load_student(student)
    nusc = open_nuscenes(dataroot, version)
    chosen = scenes or scene_names(nusc)
    first = load_frame(nusc, scene_samples(nusc, chosen[0])[0])
    options = PipelineOptions(threads=threads, report=console.print, score_threshold=score_threshold, views=views)
    pipeline = Pipeline(opened, engine, len(first.images), options)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("samples"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(f"{opened.spec.name} on {pipeline.engine.name}", total=None)
        answers = detect_scenes(
            pipeline,
            nusc,
            chosen,
            lambda done, total: bars.update(task, completed=done, total=total),
            camera_hz,
            camera_motion=camera_motion,
        )
    report = make_report(len(answers.stages), 0, answers.stages, opened.model_id, pipeline.engine.name)
    title = f"{opened.spec.name} on {len(chosen)} scene{'s' if len(chosen) > 1 else ''} of {dataroot.name}"
    metrics = write_evaluation(out, title, nusc, chosen, answers.results, answers.stages, report)
    Console().print(metrics_table(metrics, title))
    console.print(
        f"wrote [bold]{out / HTML_FILE}[/bold] and {RESULT_FILE}, {SUMMARY_FILE}, {REPORT_FILE}, pictures/ beside it"
    )
