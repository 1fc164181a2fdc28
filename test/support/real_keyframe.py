"""Training on the one real nuScenes keyframe. Five of the ten classes are in it: a perfect detector has mAP 0.5."""

from pathlib import Path

from kd_perception.resources import resource
from kd_training.config.experiment import AnyConfig, load_config
from kd_training.config.sections import DataRoot
from kd_training.evaluation.validation import validation_metrics
from support.real_data import real_data

SHIPPED = "models/bevdet_demo.safetensors"
SHIPPED_TEACHER = "models/centerpoint_demo.safetensors"


def on_real_data(name: str) -> AnyConfig:
    """A shipped configuration on the real keyframe, wherever that lies."""
    config = load_config(resource(f"config/training/{name}.yaml"))
    config.data.roots = config.data.validation = [DataRoot(root=str(real_data("nuscenes-real")), version="v1.0-mini")]
    return config


def reached(out: Path) -> float:
    """The mAP of a run on its validation set."""
    ((_, metrics),) = validation_metrics(out)
    return metrics.mean_ap
