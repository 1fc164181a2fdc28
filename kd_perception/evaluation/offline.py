"""`kd eval`: a student over a nuScenes-format data set, without ROS, scored with the nuScenes metric."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.datasets.nuscenes import open_nuscenes, scene_names, scene_row, scene_samples
from kd_perception.datasets.rigs import ANCHOR_HELP, check_anchor
from kd_perception.datasets.timeline import camera_timelines
from kd_perception.evaluation.kitti_files import print_scores
from kd_perception.evaluation.kitti_results import KittiFolder
from kd_perception.evaluation.metric import check_ground_truth
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.evaluation.report import make_report
from kd_perception.evaluation.result_folder import KITTI_FOLDER, KITTI_SCORES_FILE, PAGE_FILE
from kd_perception.evaluation.table import metrics_table
from kd_perception.evaluation.write import EvaluatedRun, write_evaluation
from kd_perception.options.detector import DetectorOptions
from kd_perception.runtime.ignore_mask import load_ignore_masks
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import load_student


def evaluate(
    *,
    student: Annotated[Path, typer.Option(help="Student file (.onnx) of kd export, or the name of a shipped one.")],
    dataroot: Annotated[Path, typer.Option(help="Folder of the data set: holds samples/ and the tables' folder.")],
    version: Annotated[str, typer.Option(help="Name of the tables' folder, e.g. v1.0-mini.")],
    out: Annotated[Path, typer.Option(help="Folder for detections, scores, report and pictures.")],
    scenes: Annotated[list[str] | None, typer.Option(help="Scene to evaluate; repeatable. Default: all.")] = None,
    engine: Annotated[
        str, typer.Option(help="auto, openvino, onnxruntime or another installed engine.")
    ] = DetectorOptions.engine,
    score_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Detections with a lower score are left out.")
    ] = DetectorOptions.score_threshold,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the engine; 0 lets the engine choose.")] = 0,
    camera_hz: Annotated[
        float,
        typer.Option(min=0.0, help="Rate at which a student with memory also sees images between keyframes; 0: none."),
    ] = 0.0,
    camera_motion: Annotated[
        bool, typer.Option("--camera-motion", help="Place each camera where it was at its own exposure.")
    ] = False,
    views: Annotated[
        int, typer.Option(min=1, help="Crops of each image, side by side; 3 suits fisheyes, which show objects small.")
    ] = 1,
    ignore_mask: Annotated[
        list[str] | None,
        typer.Option(help="CAMERA=FILE, where it sees the robot itself: a PNG, white there, or a YAML; repeatable."),
    ] = None,
    anchor: Annotated[
        str,
        typer.Option(help=ANCHOR_HELP),
    ] = "",
    kitti: Annotated[
        Path | None,
        typer.Option(help="Folder of kd import kitti: also writes KITTI's result files and, with label_2, its AP."),
    ] = None,
) -> None:
    """Evaluate a student on a nuScenes-format data set: nuScenes metric, latency and pictures; needs no ROS."""
    console = Console(stderr=True)
    opened = load_student(student)
    nusc = open_nuscenes(dataroot, version, anchor)
    check_anchor(anchor, [nusc])
    chosen = scenes or scene_names(nusc)
    cameras = {name for scene in chosen for name in nusc.rigs[scene_row(nusc, scene)["token"]].cameras}
    tokens = [token for scene in chosen for token in scene_samples(nusc, scene)]
    check_ground_truth(nusc, tokens, opened.spec.classes)
    kitti_folder = KittiFolder.of(kitti, nusc, chosen, opened.spec.classes) if kitti is not None else None
    masks = load_ignore_masks(ignore_mask or (), sorted(cameras))
    options = PipelineOptions(threads=threads, report=console.print, score_threshold=score_threshold, views=views)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("samples"),
        TimeRemainingColumn(),
    )
    with RigPipelines(opened, engine, options) as pipelines, Progress(*columns, console=console) as bars:
        engine_name = pipelines.of(camera_timelines(nusc, chosen[:1])[chosen[0]].cameras).engine.name
        task = bars.add_task(f"{opened.spec.name} on {engine_name}", total=None)
        predictions = detect_scenes(
            pipelines,
            nusc,
            chosen,
            FrameFeed(camera_hz=camera_hz, camera_motion=camera_motion, ignored=masks),
            lambda done, total: bars.update(task, completed=done, total=total),
        )
    stages = predictions.stages
    report = make_report(stages, frames_in=len(stages) + predictions.blind, model=opened.model_id, engine=engine_name)
    notes = predictions.notes()
    for note in notes:
        console.print(note)
    title = f"{opened.spec.name} on {len(chosen)} scene{'s' if len(chosen) > 1 else ''} of {dataroot.name}"
    run = EvaluatedRun(title, chosen, predictions.results, stages, report, notes, opened.spec.classes)
    metrics = write_evaluation(out, nusc, run)
    Console().print(metrics_table(metrics, title))
    if kitti_folder is not None:
        kitti_folder.write(out / KITTI_FOLDER, nusc, predictions.results, opened.spec.classes)
        print_scores(kitti_folder.score(out / KITTI_FOLDER), out / KITTI_SCORES_FILE)
    console.print(f"wrote {out}; open [bold]{out / PAGE_FILE}[/bold]")
