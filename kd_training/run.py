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
from kd_training.config import DataRoot, TrainConfig
from kd_training.data.frames import open_dataset
from kd_training.evaluate import evaluate_model
from kd_training.students import build_student
from kd_training.students.bevdet import BevDet

METRICS_FOLDER = "metrics"


def is_first_process() -> bool:
    """Whether this is the only process, or torchrun's rank 0."""
    return os.environ.get("RANK", "0") == "0"


def load_model(weights: Path) -> BevDet:
    """The student of a weights file that kd train wrote, in evaluation mode."""
    model = build_student(checkpoint_config(weights).model)
    load_weights(model, weights)
    return model.eval()


def validation_metrics(out: Path) -> Iterator[tuple[DataRoot, Metrics]]:
    """Metrics of a run's weights on each of its validation sets; files go to metrics/ (metrics1/ ... for further
    sets)."""
    config = checkpoint_config(out / WEIGHTS_FILE)
    model = load_model(out / WEIGHTS_FILE) if config.data.validation else None
    for index, source in enumerate(config.data.validation):
        dataset = open_dataset(source, config.data.camera_motion)
        yield source, evaluate_model(model, dataset, out / f"{METRICS_FOLDER}{index or ''}")


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
    return {
        "data": data or ", ".join(f"{source.root} {source.version}" for source in config.data.roots),
        "training": f"{schedule.steps} steps of {schedule.batch} samples per process, seed {schedule.seed}, "
        f"{schedule.precision}",
        "commit": _commit(),
    }


def _commit() -> str:
    """The checkout's commit, '+' if it has changes; 'unknown' outside one."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    here = Path(__file__).resolve().parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
