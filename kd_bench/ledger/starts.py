"""What students of a ledger begin with: an image half that LiDAR depth alone has taught; it has seen no label."""

from pathlib import Path

from kd_perception.errors import ConfigError, DataError
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.experiment import student_config

START, START_RECIPE = "models/depth_pretrain_demo.safetensors", "config/training/depth_pretrain_demo.yaml"


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
