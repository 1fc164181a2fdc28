"""Training runs of a few seconds on the painted data set: a student, a teacher, a student with that teacher."""

from dataclasses import replace
from pathlib import Path

import torch

from kd_training.checkpoints.checkpoint import save_weights
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import LabelTrainConfig, TeacherTrainConfig, TrainConfig
from kd_training.config.labels import LabelDataConfig, LabelModelConfig
from kd_training.config.sections import (
    AugmentConfig,
    DataConfig,
    DataRoot,
    GridConfig,
    ModelConfig,
    ScheduleConfig,
    StudentScheduleConfig,
    TemporalConfig,
    ViewConfig,
)
from kd_training.config.teacher import LidarDataConfig, PasteConfig, PointsConfig, TeacherModelConfig
from kd_training.models.students import build_student
from kd_training.models.teachers import build_teacher
from support.nuscenes_tables import VERSION

GRID = GridConfig(extent=12.8, cell_size=0.8)
HEAD = {"head_shared": 16, "head_hidden": 8}
NARROW = {
    "image_height": 64,
    "image_width": 96,
    "neck_channels": 16,
    "context_channels": 8,
    "bev_channels": 16,
    "bev_blocks": 1,
}
EXACT = {"batch": 2, "warmup_steps": 2, "log_steps": 1}
STUDENTS = {**EXACT, "freeze_stages": 5}  # two of the backbone's seven learn: a step takes two thirds of the time


def student_run(data: Path, steps: int = 4, frames: int = 1, **schedule) -> TrainConfig:
    """A single-frame student, or one with memory (`frames` 2)."""
    temporal = TemporalConfig(frames=frames, shortest=0.25)
    view = ViewConfig(heights=[0.5], depth_bins=16)
    source = DataRoot(root=str(data), version=VERSION)
    return TrainConfig(
        model=ModelConfig(name="tiny_student", grid=GRID, view=view, temporal=temporal, **HEAD, **NARROW),
        data=DataConfig(roots=[source], validation=[source], augment=AugmentConfig()),
        schedule=StudentScheduleConfig(steps=steps, **{**STUDENTS, **schedule}),
    )


def teacher_run(data: Path, steps: int = 4, **schedule) -> TeacherTrainConfig:
    """A teacher of two blocks, trained with pasted objects."""
    source = DataRoot(root=str(data), version=VERSION)
    return TeacherTrainConfig(
        teacher=TeacherModelConfig(
            name="tiny_teacher", grid=GRID, pillar_size=0.4, pillar_channels=8, block_channels=[8, 16],
            block_layers=[1, 1], neck_channels=8, points=PointsConfig(sweeps=2), **HEAD,
        ),
        data=LidarDataConfig(
            roots=[source], validation=[source], paste=PasteConfig(counts={"car": 3}, least_points=1)
        ),
        schedule=ScheduleConfig(steps=steps, **{**EXACT, **schedule}),
    )  # fmt: skip


def write_teacher(target: Path, seed: int = 0, **sizes) -> Path:
    """Weights of a teacher that has learnt nothing."""
    torch.manual_seed(seed)
    config = teacher_run(Path("none"))
    config = replace(config, teacher=replace(config.teacher, **sizes))
    save_weights(build_teacher(config.teacher).state_dict(), config, target)
    return target


def write_fine_student(target: Path, seed: int = 0, frames: int = 1, **sizes) -> Path:
    """Weights of a student that has learnt nothing, of twice as many pixels each way unless `sizes` say otherwise."""
    torch.manual_seed(seed)
    config = student_run(Path("none"), frames=frames)
    fine = {"name": "tiny_fine", "image_height": 128, "image_width": 192}
    config = replace(config, model=replace(config.model, **{**fine, **sizes}))
    save_weights(build_student(config.model).state_dict(), config, target)
    return target


def cross_scale_run(data: Path, teacher: Path, steps: int = 2, frames: int = 1, **schedule) -> TrainConfig:
    """A student taught by the finer student in the weights file `teacher`."""
    return replace(student_run(data, steps, frames, **schedule), cross_scale=CrossScaleConfig(teacher=str(teacher)))


def label_run(data: Path, teacher: Path, steps: int = 4, **schedule) -> LabelTrainConfig:
    """A label encoder for the weights file `teacher`."""
    source = DataRoot(root=str(data), version=VERSION)
    return LabelTrainConfig(
        labels=LabelModelConfig(name="tiny_labels", teacher=str(teacher), channels=8),
        data=LabelDataConfig(roots=[source], validation=[source]),
        schedule=ScheduleConfig(steps=steps, **{**EXACT, **schedule}),
    )


def distilled_run(data: Path, teacher: Path, steps: int = 4, frames: int = 1, **schedule) -> TrainConfig:
    """A student taught by the weights file `teacher`."""
    return replace(student_run(data, steps, frames, **schedule), distill=DistillConfig(teacher=str(teacher)))
