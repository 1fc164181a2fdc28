"""What happens around a training run: its weights as a model, its metrics, and the facts that its student file
states."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kd_perception.boxes import CLASSES
from kd_perception.errors import DataError
from kd_perception.evaluation.metric import Metrics
from kd_training.checkpoint import WEIGHTS_FILE, checkpoint_config, load_weights
from kd_training.config import DataRoot
from kd_training.data.frames import open_dataset
from kd_training.evaluate import evaluate_model
from kd_training.experiment import TeacherTrainConfig, TrainConfig, student_config, teacher_config
from kd_training.students import build_student
from kd_training.students.bevdet import BevDet
from kd_training.teachers import build_teacher
from kd_training.teachers.centerpoint import CenterPoint
from kd_training.teachers.evaluate import evaluate_teacher

METRICS_FOLDER = "metrics"


def is_first_process() -> bool:
    """Whether this is the only process, or torchrun's rank 0."""
    return os.environ.get("RANK", "0") == "0"


def load_model(weights: Path) -> BevDet:
    """The student of a weights file that kd train wrote, in evaluation mode."""
    model = build_student(student_config(checkpoint_config(weights), str(weights)).model)
    load_weights(model, weights)
    return model.eval()


def load_teacher(weights: Path) -> CenterPoint:
    """The teacher of a weights file that kd train wrote, in evaluation mode."""
    model = build_teacher(teacher_config(checkpoint_config(weights), str(weights)).teacher)
    load_weights(model, weights)
    return model.eval()


def validation_metrics(out: Path, weights: Path | None = None) -> Iterator[tuple[DataRoot, Metrics]]:
    """Metrics of a run on each of its validation sets; files go to metrics/ (metrics1/ ... for further sets).

    `weights`: others than the run's last, for example those of schedule.keep_steps.
    """
    weights = weights or out / WEIGHTS_FILE
    config = checkpoint_config(weights)
    for index, source in enumerate(config.data.validation):
        folder = metrics_folder(out, index)
        if isinstance(config, TeacherTrainConfig):
            yield source, evaluate_teacher(load_teacher(weights), open_dataset(source), folder)
        else:
            dataset = open_dataset(source, config.data.camera_motion)
            yield source, evaluate_model(load_model(weights), dataset, folder)


def metrics_folder(out: Path, index: int) -> Path:
    """Where the metrics of a run's validation set of that index lie."""
    return out / f"{METRICS_FOLDER}{index or ''}"


def measured_accuracy(summary: Path) -> dict[str, float]:
    """mAP, NDS and AP per class of a metrics_summary.json; empty if there is none."""
    if not summary.is_file():
        return {}
    try:
        figures = json.loads(summary.read_text())
        per_class = {f"AP {name}": round(float(figures["mean_dist_aps"][name]), 4) for name in CLASSES}
        return {"mAP": round(float(figures["mean_ap"]), 4), "NDS": round(float(figures["nd_score"]), 4), **per_class}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{summary} is no metrics_summary.json of the nuScenes metric ({error}); give another with --metrics"
        ) from error


def provenance_of(config: TrainConfig, data: str) -> dict[str, str]:
    """What a student file says about its origin."""
    schedule = config.schedule
    length = f"{schedule.steps} steps" if schedule.steps else f"{schedule.epochs:g} epochs"
    samples = f"{schedule.total_batch} samples" if schedule.total_batch else f"{schedule.batch} samples per process"
    facts = {
        "data": data or ", ".join(f"{source.root} {source.version}" for source in config.data.roots),
        "training": f"{length} of {samples}, seed {schedule.seed}, {schedule.precision}",
        "commit": _commit(),
    }
    if config.distill.teacher:
        facts["teacher"] = config.distill.teacher
    return facts


def _commit() -> str:
    """The checkout's commit, '+' if it has changes; 'unknown' outside one."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    here = Path(__file__).resolve().parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
