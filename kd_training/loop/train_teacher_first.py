"""A distilled run whose teacher does not exist yet trains it first, by the recipe that it names."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch.distributed

from kd_perception.atomic import write_bytes
from kd_perception.resources import resource
from kd_training.batches.processes import is_first_process
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import AnyConfig, TrainConfig, load_config, load_student_config, teacher_config
from kd_training.loop.train import train


class AbsentTeacher(NamedTuple):
    """Where a teacher's weights are to be, and the configuration that makes them."""

    target: Path
    settings: AnyConfig


def train_missing_teachers(config: TrainConfig, overrides: Sequence[str]) -> list[Path]:
    """Train teachers whose weights do not exist, by the recipes that distill and cross_scale name; the folders of those
    runs.

    A run lies next to the file, under its name without suffix, and continues where it was interrupted; the file
    appears at its end. It takes over data.root, and a student's model.backbone_weights, from the overrides. Raises
    KeyboardInterrupt if interrupted.
    """
    folders = []
    for target, settings in absent_teachers(config, overrides):
        folder = target.with_suffix("")
        if not train(settings, folder, resume=(folder / STATE_FILE).is_file()):
            raise KeyboardInterrupt
        if is_first_process():
            write_bytes(target, (folder / WEIGHTS_FILE).read_bytes())
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        folders.append(folder)
    return folders


def absent_teachers(config: TrainConfig, overrides: Sequence[str]) -> list[AbsentTeacher]:
    """Those that have a recipe. Raises ConfigError where a recipe is of another kind."""
    found = []
    if _is_absent(config.distill):
        recipe = config.distill.teacher_recipe
        settings = teacher_config(load_config(_file(recipe), _taken(overrides, "data.root")), recipe)
        found.append(AbsentTeacher(Path(config.distill.teacher), settings))
    if _is_absent(config.cross_scale):
        recipe = config.cross_scale.teacher_recipe
        settings = load_student_config(_file(recipe), _taken(overrides, "data.root", "model.backbone_weights"))
        found.append(AbsentTeacher(Path(config.cross_scale.teacher), settings))
    return found


def _is_absent(section: DistillConfig | CrossScaleConfig) -> bool:
    return bool(section.teacher and section.teacher_recipe) and not Path(section.teacher).is_file()


def _file(recipe: str) -> Path:
    return Path(recipe) if Path(recipe).is_file() else resource(recipe)


def _taken(overrides: Sequence[str], *keys: str) -> list[str]:
    return [text for text in overrides if text.partition("=")[0] in keys]
