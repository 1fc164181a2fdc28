"""`kd view`: bags, results and data sets in a viewer, with the reason of every miss; starts no ROS nodes.

It stands here because a teacher's heatmaps need kd_training, which kd_perception must not import.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from kd_perception.datasets.rigs import ANCHOR_HELP
from kd_perception.errors import ConfigError
from kd_perception.evaluation.pictures import DRAWN_SCORE
from kd_perception.geometry.classes import CLASSES_HELP
from kd_perception.options.detector import DetectorOptions
from kd_perception.recordings.foxglove import foxglove_recording
from kd_perception.recordings.rerun_recording import rerun_file, rerun_window
from kd_perception.recordings.viewed_frame import FrameRecording, ViewedFrame
from kd_perception.student.classes import chosen_classes
from kd_perception.viewer.source import SourceKind
from kd_perception.viewer.student_heatmaps import StudentHeatmaps
from kd_perception.viewer.viewer_source import FrameChoice, ViewerSource, open_source

MOST_WARNINGS = 5
WRITERS = {".rrd": rerun_file, ".mcap": foxglove_recording}


def view(
    *,
    path: Annotated[Path, typer.Argument(metavar="BAG|RESULTS|DATASET", help="Bag, result folder or data set.")],
    dataroot: Annotated[
        Path | None, typer.Option(help="Data set that results are of, or whose samples a bag names.")
    ] = None,
    version: Annotated[str, typer.Option(help="Name of the tables' folder. Default: the only one.")] = "",
    scenes: Annotated[list[str] | None, typer.Option(help="Scene to show; repeatable. Default: all.")] = None,
    student: Annotated[Path | None, typer.Option(help="Student file whose heatmaps are shown.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Weights of a teacher whose heatmaps are shown.")] = None,
    classes: Annotated[Path | None, typer.Option(help=CLASSES_HELP)] = None,
    score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Score from which a prediction counts.")] = DRAWN_SCORE,
    frames: Annotated[
        int, typer.Option(min=1, help="Most frames to show: evenly over a bag, else the first.")
    ] = FrameChoice.most,
    anchor: Annotated[str, typer.Option(help=ANCHOR_HELP)] = "",
    base_frame: Annotated[str, typer.Option(help="The robot's frame in a bag.")] = DetectorOptions.base_frame,
    save: Annotated[
        Path | None, typer.Option(help="Write FILE.rrd (rerun) or FILE.mcap (Foxglove), and open no window.")
    ] = None,
) -> None:
    """Show cameras, cloud, boxes, ground truth and heatmaps; click a miss and read why it was missed."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    opened = _recording(save)
    source = open_source(path, dataroot, version, chosen_classes(classes or student), anchor=anchor)
    adders: list[StudentHeatmaps | TeacherHeatmaps] = [StudentHeatmaps(student)] if student else []
    adders += [TeacherHeatmaps(teacher, source, anchor)] if teacher else []
    problems: dict[str, None] = {}
    count = 0
    with opened as recording:
        choice = FrameChoice(scenes or (), frames, base_frame)
        for frame in track(source.frames(choice), "reading frames", console=console, transient=True):
            for adder in adders:
                frame = adder.add(frame)
            recording.write(source.judged(frame, score))
            problems |= dict.fromkeys(frame.problems)
            count += 1
        if not count:
            raise ConfigError(f"{path} has no frame of the scenes {', '.join(scenes or ('that were chosen',))}")
    for sentence in list(problems)[:MOST_WARNINGS]:
        console.print(f"[yellow]warning:[/yellow] {sentence}")
    if len(problems) > MOST_WARNINGS:
        console.print(f"[yellow]warning:[/yellow] and {len(problems) - MOST_WARNINGS} more like these")
    console.print(f"{count} frames of {path}" + (f"; wrote [bold]{save}[/bold]" if save else ""))


class TeacherHeatmaps:
    """A teacher over the keyframes of a data set."""

    def __init__(self, weights: Path, source: ViewerSource, anchor: str = "") -> None:
        """Raises ConfigError if the source is a bag, which does not hold what a teacher was trained on."""
        from kd_training.checkpoints.models import load_teacher
        from kd_training.config.sections import DataRoot
        from kd_training.data.frames import open_dataset
        from kd_training.evaluation.teacher import TeacherDetector

        if source.kind is SourceKind.BAG:
            raise ConfigError(
                "--teacher needs the sweeps before each keyframe, which a bag does not sort; give its data set instead"
            )
        self._teacher = TeacherDetector(load_teacher(weights))
        dataset = open_dataset(DataRoot(str(source.nusc.dataroot), source.nusc.version), anchor=anchor)
        self._frames = {frame.frame.sample_token: frame for frame in dataset.frames}

    def add(self, frame: ViewedFrame) -> ViewedFrame:
        """The frame with the heatmap `teacher`."""
        heatmap, _ = self._teacher.outputs(self._frames[frame.sample_token])
        return replace(frame, heatmaps={**frame.heatmaps, "teacher": heatmap})


def _recording(save: Path | None) -> AbstractContextManager[FrameRecording]:
    """Where frames go; raises ConfigError for a file name of another kind, or where rerun is not installed."""
    if save is None:
        return rerun_window()
    if save.suffix not in WRITERS:
        raise ConfigError(f"--save {save} must end in {' or '.join(WRITERS)}, which decides the viewer")
    return WRITERS[save.suffix](save)
