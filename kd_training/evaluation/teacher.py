"""The nuScenes metric of a teacher: its point clouds, decoded and scored as a student's detections are."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.result_folder import SUMMARY_FILE, TRAINED_RESULTS_FILE
from kd_perception.evaluation.results import META, sample_result, write_results
from kd_perception.geometry.boxes import Boxes
from kd_perception.student.decode import decode
from kd_training.data.frames import Dataset, TrainingFrame
from kd_training.data.lidar_source import LidarSource
from kd_training.data.points import collate_points
from kd_training.evaluation.student import SCORE_THRESHOLD
from kd_training.models.teachers.centerpoint import CenterPoint


class TeacherDetector:
    """A teacher that detects on keyframes; the model is put into evaluation mode."""

    def __init__(self, model: CenterPoint, cache_bytes: int = 0) -> None:
        self.model = model.eval()
        self.lidar = LidarSource(cache_bytes, model.config)
        self.grid, self.classes, self.coding = model.grid, model.classes, model.coding

    def stamp_us(self, frame: TrainingFrame) -> int:
        """When a keyframe's cloud was measured."""
        return frame.lidar["timestamp"]

    def detect(self, frame: TrainingFrame) -> Boxes:
        """Boxes in the keyframe's ego; raises DataError naming a cloud that is missing or damaged."""
        model = self.model
        return decode(*self.outputs(frame), model.grid, SCORE_THRESHOLD, classes=model.classes, coding=model.coding)

    def outputs(self, frame: TrainingFrame) -> tuple[np.ndarray, np.ndarray]:
        """heatmap (classes, rows, columns) in [0, 1], regression (groups, codes, rows, columns); raises as `detect`."""
        cloud = self.lidar.augmented(frame, np.eye(4))
        heatmap, regression = self.model.detect(collate_points([cloud]))
        return heatmap.cpu().numpy(), regression.cpu().numpy()


def evaluate_teacher(model: CenterPoint, dataset: Dataset, out: Path) -> Metrics:
    """As evaluate_detector, of a teacher on its clouds."""
    return evaluate_detector(TeacherDetector(model), dataset, out)


def evaluate_detector(detector: TeacherDetector, dataset: Dataset, out: Path) -> Metrics:
    """Detect on every keyframe and evaluate; writes detections and the metric's summary into `out`."""
    model = detector.model
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results = {}
    with Progress(*columns, transient=True) as bars:
        for frame in bars.track(dataset.frames):
            token = frame.frame.sample_token
            results[token] = sample_result(token, detector.detect(frame), frame.frame.global_from_ego)
    if model.voxels_left_out:
        Console(stderr=True).print(
            f"[yellow]warning[/]: {model.voxels_left_out} voxels were left out, beyond teacher.voxels.most "
            f"{model.config.voxels.most} a cloud",
            soft_wrap=True,
        )
    used = {**META, "use_camera": model.config.points.virtual.per_instance > 0, "use_lidar": True}
    path = out / TRAINED_RESULTS_FILE
    write_results(path, results, used)
    return evaluate_results(dataset.nusc, path, list(dataset.scenes), out / SUMMARY_FILE, classes=model.classes)
