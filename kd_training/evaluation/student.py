"""The nuScenes metric of a model in memory: the pipeline, memory, decoding and metric that `kd eval` runs on a file."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.offline import detect_scenes
from kd_perception.evaluation.results import write_results
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import Student
from kd_training.data.frames import Dataset
from kd_training.evaluation.model_engine import ModelEngine
from kd_training.models.students.bevdet import BevDet

SCORE_THRESHOLD = 0.02
RESULTS_FILE = "results.json"


def evaluate_model(model: BevDet, dataset: Dataset, out: Path) -> Metrics:
    """Detect on every frame of the data set and evaluate; writes results.json and metrics_summary.json into `out`."""
    student = Student(out / "no file", model.spec, "")
    cameras = len(dataset.frames[0].cameras)
    pipeline = Pipeline(student, ModelEngine(model), cameras, PipelineOptions(score_threshold=SCORE_THRESHOLD))
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bars:
        task = bars.add_task("", total=len(dataset.frames))
        answers = detect_scenes(
            pipeline,
            dataset.nusc,
            dataset.scenes,
            lambda done, total: bars.update(task, completed=done, total=total),
            camera_motion=dataset.frames[0].camera_motion,
        )
    pipeline.close()
    write_results(out / RESULTS_FILE, answers.results)
    return evaluate_results(dataset.nusc, out / RESULTS_FILE, list(dataset.scenes), out / "metrics_summary.json")
