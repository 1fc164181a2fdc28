"""A distilled run whose teacher does not exist yet trains it first, by the recipe that it names."""

from collections.abc import Sequence
from pathlib import Path

import torch.distributed

from kd_perception.atomic import write_bytes
from kd_perception.resources import resource
from kd_training.batches.processes import is_first_process
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE
from kd_training.config.experiment import TrainConfig, load_config, teacher_config
from kd_training.loop.train import train


def train_missing_teacher(config: TrainConfig, overrides: Sequence[str]) -> Path | None:
    """Train by distill.teacher_recipe if the file distill.teacher does not exist; the folder of that run, None if it
    was not needed.

    The run lies next to the file, under its name without suffix, and continues where it was interrupted; the file
    appears at its end. It takes over data.root from the overrides. Raises KeyboardInterrupt if interrupted.
    """
    target, recipe = Path(config.distill.teacher), config.distill.teacher_recipe
    if not (config.distill.teacher and recipe) or target.is_file():
        return None
    path = Path(recipe) if Path(recipe).is_file() else resource(recipe)
    settings = teacher_config(load_config(path, [text for text in overrides if text.startswith("data.root=")]), recipe)
    folder = target.with_suffix("")
    if not train(settings, folder, resume=(folder / STATE_FILE).is_file()):
        raise KeyboardInterrupt
    if is_first_process():
        write_bytes(target, (folder / WEIGHTS_FILE).read_bytes())
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    return folder
