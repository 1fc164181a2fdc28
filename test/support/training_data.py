"""Samples, batches and LiDAR sources of small tests, without a whole configuration for each."""

from collections.abc import Sequence

import numpy as np

from kd_perception.student.spec import StudentSpec
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import TeacherTrainConfig, TrainConfig
from kd_training.config.sections import (
    AugmentConfig,
    DataConfig,
    GridConfig,
    LossConfig,
    ModelConfig,
    ScheduleConfig,
    StudentScheduleConfig,
    TemporalConfig,
)
from kd_training.config.teacher import LidarDataConfig, PointsConfig, TeacherModelConfig
from kd_training.data.augment import AS_IT_IS, Augmentation, draw_augmentation
from kd_training.data.batches import Batch, StepBatches, collate
from kd_training.data.frames import TrainingFrame
from kd_training.data.lidar_batches import LidarBatches
from kd_training.data.lidar_source import LidarSource
from kd_training.data.samples import SampleReader

ONE_OF_TWO = RunPlan(steps=10, rank=0, processes=2)


def lidar_source(points: PointsConfig, cache_bytes: int = 10**7, extent: float = 51.2) -> LidarSource:
    """Clouds for a teacher with pillars of 0.4 m."""
    grid = GridConfig(extent=extent, cell_size=0.8)
    return LidarSource(cache_bytes, TeacherModelConfig(name="test", pillar_size=0.4, grid=grid, points=points))


def step_batches(
    spec: StudentSpec,
    frames: Sequence[TrainingFrame],
    augment: AugmentConfig,
    *,
    seed: int = 0,
    balance: bool = False,
    plan: RunPlan = ONE_OF_TWO,
) -> StepBatches:
    """Batches of two samples without depth labels and clouds."""
    config = TrainConfig(
        model=ModelConfig(name="test", temporal=TemporalConfig(frames=spec.temporal_frames)),
        data=DataConfig(roots=[], augment=augment, balance_classes=balance),
        loss=LossConfig(depth=0.0),
        schedule=StudentScheduleConfig(batch=2, seed=seed),
    )
    return StepBatches(spec, tuple(frames), config, plan, LidarSource(0))


def lidar_batches(
    frames: Sequence[TrainingFrame], lidar: LidarSource, data: LidarDataConfig, schedule: ScheduleConfig, plan: RunPlan
) -> LidarBatches:
    """A teacher's batches."""
    return LidarBatches(tuple(frames), TeacherTrainConfig(lidar.teacher, data, schedule=schedule), plan, lidar)


def no_augmentation(spec: StudentSpec, cameras: int) -> Augmentation:
    """The sample as it is."""
    return draw_augmentation(np.random.default_rng(0), AS_IT_IS, cameras, spec.image_size)


def batch_as_it_is(spec: StudentSpec, frame: TrainingFrame) -> Batch:
    """One frame without augmentation and depth labels."""
    return collate([SampleReader(spec).read(frame, no_augmentation(spec, len(frame.cameras)))], spec)
