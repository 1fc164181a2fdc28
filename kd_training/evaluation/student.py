"""A student in memory on keyframes: its plain answers; and its nuScenes metric, by the pipeline, memory, decoding and
metric that `kd eval` runs on a file."""

from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.evaluation.result_folder import SUMMARY_FILE, TRAINED_RESULTS_FILE
from kd_perception.evaluation.results import write_results
from kd_perception.runtime.pipeline import PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import Student
from kd_training.data.augment import AS_IT_IS, draw_augmentation
from kd_training.data.batches import collate
from kd_training.data.frames import Dataset, TrainingFrame
from kd_training.data.samples import SampleReader
from kd_training.evaluation.model_engine import ModelEngine
from kd_training.models.students.camera_student import CameraStudent

SCORE_THRESHOLD = 0.02


class StudentDetector:
    """A student that answers on keyframes, each with a moment before it where it has a memory."""

    def __init__(self, model: CameraStudent) -> None:
        self.model, self.reader = model.eval(), SampleReader(model.spec)
        self.grid, self.classes, self.coding = model.spec.grid, model.spec.classes, model.spec.coding

    def stamp_us(self, frame: TrainingFrame) -> int:
        """When a keyframe's anchor image was taken."""
        return frame.frame.timestamp_us

    def outputs(self, frame: TrainingFrame) -> tuple[np.ndarray, np.ndarray]:
        """heatmap (classes, rows, columns) in [0, 1], regression (groups, codes, rows, columns).

        Raises DataError naming an image that is missing or damaged.
        """
        spec, rng = self.model.spec, np.random.default_rng(0)
        memory = spec.memory
        earlier = None if memory is None else frame.earlier(rng, memory.shortest_s, memory.longest_s)
        as_it_is = draw_augmentation(rng, AS_IT_IS, len(frame.cameras), spec.image_size)
        sample = self.reader.read(frame, as_it_is, [] if earlier is None else [earlier])
        with torch.inference_mode():
            outputs = self.model.train_forward(collate([sample], spec).to(self.model.mean.device).inputs)
        return torch.sigmoid(outputs.heatmap[0]).cpu().numpy(), outputs.regression[0].cpu().numpy()


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
