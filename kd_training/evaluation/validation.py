"""Metrics of a training run on its validation sets."""

from collections.abc import Iterator
from pathlib import Path

from kd_perception.evaluation.metric import Metrics
from kd_perception.evaluation.result_folder import METRICS_FOLDER, read_summary
from kd_training.batches.moving import fastest_device
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config
from kd_training.checkpoints.models import load_model, load_teacher
from kd_training.config.experiment import LabelTrainConfig, TeacherTrainConfig, TrainConfig
from kd_training.config.sections import DataRoot
from kd_training.data.frames import open_dataset
from kd_training.evaluation.depth import DepthAccuracy, evaluate_depth
from kd_training.evaluation.labels import load_label_detector
from kd_training.evaluation.student import evaluate_model
from kd_training.evaluation.teacher import evaluate_detector, evaluate_teacher

DECIMALS = 4


def validation_metrics(out: Path, weights: Path | None = None) -> Iterator[tuple[DataRoot, Metrics]]:
    """Metrics of a run on each of its validation sets; files go to metrics/ (metrics1/ ... for further sets).

    `weights`: others than the run's last, for example those of schedule.keep_steps.
    """
    weights = weights or out / WEIGHTS_FILE
    for index, source in enumerate(checkpoint_config(weights).data.validation):
        yield source, metrics_on(weights, source, metrics_folder(out, index))


def metrics_on(weights: Path, source: DataRoot, folder: Path) -> Metrics:
    """Metrics of a student, a teacher or a label encoder on a data set; files go to `folder`."""
    config = checkpoint_config(weights)
    anchor = config.data.anchor
    if isinstance(config, TeacherTrainConfig):
        teacher = load_teacher(weights).to(fastest_device())
        return evaluate_teacher(teacher, open_dataset(source, teacher.classes, anchor=anchor), folder)
    if isinstance(config, LabelTrainConfig):
        detector = load_label_detector(weights, Path(config.labels.teacher))
        return evaluate_detector(detector, open_dataset(source, detector.model.classes, anchor=anchor), folder)
    student, motion = load_model(weights).to(fastest_device()), config.data.camera_motion
    dataset = open_dataset(source, student.spec.classes, camera_motion=motion, anchor=anchor)
    return evaluate_model(student, dataset, folder)


def learnt_depth_alone(out: Path) -> bool:
    """Whether a finished run has no detections to score: it learnt nothing but depth."""
    config = checkpoint_config(out / WEIGHTS_FILE)
    return isinstance(config, TrainConfig) and config.loss.depth_alone


def validation_depth(out: Path) -> Iterator[tuple[DataRoot, DepthAccuracy]]:
    """The depth accuracy of a student's run on each of its validation sets; files go where metrics go."""
    student, config = load_model(out / WEIGHTS_FILE), checkpoint_config(out / WEIGHTS_FILE)
    motion, anchor = config.data.camera_motion, config.data.anchor
    for index, source in enumerate(config.data.validation):
        dataset = open_dataset(source, student.spec.classes, camera_motion=motion, anchor=anchor)
        yield source, evaluate_depth(student, dataset, metrics_folder(out, index))


def metrics_folder(out: Path, index: int) -> Path:
    """Where the metrics of a run's validation set of that index lie."""
    return out / f"{METRICS_FOLDER}{index or ''}"


def measured_accuracy(summary: Path) -> dict[str, float]:
    """mAP, NDS and AP per class of a metrics summary, as a student file states them; empty if the file is missing."""
    if not summary.is_file():
        return {}
    figures = read_summary(summary)
    per_class = {f"AP {name}": round(value, DECIMALS) for name, value in figures.mean_dist_aps.items()}
    return {"mAP": round(figures.mean_ap, DECIMALS), "NDS": round(figures.nd_score, DECIMALS), **per_class}
