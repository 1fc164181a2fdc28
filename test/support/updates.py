"""Updates of a few steps on the painted data set: one scene is the old domain, the other the new one."""

from pathlib import Path

import numpy as np
import torch

from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.config.continual import BufferConfig
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import DataRoot
from kd_training.continual.buffer import OfferedDomain, add_domain
from kd_training.data.frames import open_frames
from kd_training.models.students import build_student
from support.nuscenes_tables import SCENES, VERSION
from support.tiny_runs import student_run

OLD_SCENE, NEW_SCENE = SCENES


def write_old_student(target: Path, classes: dict | None = None, frames: int = 1) -> Path:
    """Weights of a student that has learnt nothing but to see objects here and there."""
    torch.manual_seed(0)
    config = student_run(Path("none"), frames=frames)
    config.model.classes = classes or {}
    model = build_student(config.model)
    for branch in model.head.heatmap:
        torch.nn.init.normal_(branch[-1].weight, std=0.3)
    save_weights(model.state_dict(), config, target)
    return target


def update_run(data: Path, old: Path, steps: int = 4, frames: int = 1, **schedule) -> TrainConfig:
    """The old student learns the new scene; nothing is replayed yet."""
    config = student_run(data, steps, frames, **schedule)
    config.data.roots = [DataRoot(root=str(data), version=VERSION, scenes=[NEW_SCENE])]
    config.data.validation = []
    config.continual.student, config.continual.domain, config.continual.buffer.least = str(old), "east", 2
    return config


def write_buffer(data: Path, folder: Path, classes: ClassList = NUSCENES) -> Path:
    """A replay buffer of the old scene's keyframes, the student more unsure of each; its labels cover `classes`."""
    frames = open_frames([DataRoot(root=str(data), version=VERSION, scenes=[OLD_SCENE])], classes)
    offered = OfferedDomain("north", frames, np.arange(1.0, len(frames) + 1.0))
    add_domain(folder, offered, BufferConfig(keyframes=6, least=2, sweeps=1))
    return folder
