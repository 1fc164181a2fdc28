"""The nuScenes metric of a model in memory: the pipeline, memory, decoding and metric that `kd eval` runs on a file."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.evaluation.result_folder import SUMMARY_FILE, TRAINED_RESULTS_FILE
from kd_perception.evaluation.results import write_results
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import Student
from kd_training.data.frames import Dataset
from kd_training.evaluation.model_engine import ModelEngine
from kd_training.models.students.camera_student import CameraStudent

SCORE_THRESHOLD = 0.02


def evaluate_model(model: CameraStudent, dataset: Dataset, out: Path) -> Metrics:
    """Detect on every frame of the data set and evaluate; writes detections and the metric's summary into `out`."""
    student = Student(out / "no file", model.spec, "")
    pipelines = RigPipelines(student, ModelEngine(model), PipelineOptions(score_threshold=SCORE_THRESHOLD))
    feed = FrameFeed(camera_motion=dataset.frames[0].camera_motion)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with pipelines, Progress(*columns, transient=True) as bars:
        task = bars.add_task("", total=len(dataset.frames))
        predictions = detect_scenes(
            pipelines, dataset.nusc, dataset.scenes, feed, lambda done, _: bars.update(task, completed=done)
        )
    path = out / TRAINED_RESULTS_FILE
    write_results(path, predictions.results)
    return evaluate_results(dataset.nusc, path, list(dataset.scenes), out / SUMMARY_FILE, classes=model.spec.classes)
