"""Students of ledgers: their configuration, and the image half that they begin with, which has seen no label."""

from dataclasses import replace
from pathlib import Path

from kd_perception.errors import ConfigError, DataError
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.experiment import TrainConfig, load_student_config, student_config

START, START_RECIPE = "models/depth_pretrain_demo.safetensors", "config/training/depth_pretrain_demo.yaml"
KEYFRAMES_APART_S = 0.5


def start_weights(given: Path | None) -> Path:
    """The weights that students begin with, given or shipped.

    Raises ConfigError, with the command, without any; also if they have seen labels: they would know what is withheld.
    """
    if given is not None and not given.is_file():
        raise ConfigError(f"--start {given} does not exist; give weights that kd train {START_RECIPE} wrote")
    try:
        path = (given or resource(START)).resolve()
    except DataError as error:
        raise ConfigError(
            f"no trained image half ships; train one (kd train {START_RECIPE}) and give its weights with --start"
        ) from error
    if not student_config(checkpoint_config(path), str(path)).loss.depth_alone:
        raise ConfigError(f"{path} has learnt from labels; give weights of depth alone (kd train {START_RECIPE})")
    return path


def demo_student(student: str) -> TrainConfig:
    """The student's small configuration; one with memory learns the intervals between keyframes."""
    config = load_student_config(resource(f"config/training/{student}_demo.yaml"))
    temporal = replace(config.model.temporal, shortest=KEYFRAMES_APART_S)
    return replace(config, model=replace(config.model, temporal=temporal))
