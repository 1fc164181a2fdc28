"""A teacher's batches: a function of seed and step; ground truth follows the points, velocities and sizes included."""

import numpy as np
import pytest
import torch
from support.nuscenes_tables import VERSION, write_dataset
from support.training_data import lidar_batches, lidar_source

from kd_perception.student.spec import StudentSpec
from kd_training.batches.run_plan import RunPlan
from kd_training.config.distill import DistillConfig
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import (
    AugmentConfig,
    DataConfig,
    DataRoot,
    LossConfig,
    ModelConfig,
    ScheduleConfig,
    StudentScheduleConfig,
)
from kd_training.config.student_spec import student_spec
from kd_training.config.teacher import LidarAugmentConfig, LidarDataConfig, PasteConfig, PointsConfig
from kd_training.data.batches import StepBatches
from kd_training.data.bev_augmentation import BevAugmentation, draw_bev_augmentation
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.lidar_batches import LidarBatch, LidarBatches


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    return open_frames([DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)])


def batches(frames, seed: int = 0, rank: int = 0) -> LidarBatches:
    data = LidarDataConfig(paste=PasteConfig(counts={"car": 9}, least_points=1))
    plan = RunPlan(steps=10, rank=rank, processes=2)
    return lidar_batches(frames, lidar_source(PointsConfig()), data, ScheduleConfig(batch=2, seed=seed), plan)


def same(first: LidarBatch, second: LidarBatch) -> bool:
    return torch.equal(first.points.points, second.points.points) and torch.equal(
        torch.nan_to_num(first.ground_truth.codes), torch.nan_to_num(second.ground_truth.codes)
    )


def test_a_step_is_always_the_same_batch_and_seeds_steps_and_ranks_differ(frames):
    three = batches(frames)[3]
    assert three.rigs == 2 and set(three.points.rig.tolist()) == {0, 1}
    assert same(three, batches(frames)[3])
    for other in (batches(frames)[4], batches(frames, rank=1)[3], batches(frames, seed=1)[3]):
        assert not same(three, other)


def test_scale_scales_boxes_and_velocities_and_every_turn_is_orthogonal(frames):
    boxes = frames[0].boxes
    doubled = BevAugmentation(np.eye(4), 2.0).boxes(boxes)
    np.testing.assert_allclose(doubled.center, 2.0 * boxes.center)
    np.testing.assert_allclose(doubled.size, 2.0 * boxes.size)
    np.testing.assert_allclose(doubled.velocity, 2.0 * boxes.velocity)
    drawn = [draw_bev_augmentation(np.random.default_rng(seed), LidarAugmentConfig()) for seed in range(20)]
    assert {round(np.linalg.det(each.target_from_ego[:3, :3])) for each in drawn} == {-1, 1}
    for each in drawn:
        np.testing.assert_allclose(each.target_from_ego @ each.target_from_ego.T, np.eye(4), atol=1e-12)
    still = LidarAugmentConfig(mirror=False, mirror_front=False, bev_rotation=0.0, scale=0.0)
    np.testing.assert_array_equal(draw_bev_augmentation(np.random.default_rng(0), still).matrix, np.eye(4))


def student_batches(frames, **distill) -> StepBatches:
    spec: StudentSpec = student_spec(ModelConfig(name="test"), (127.5,) * 3, (127.5,) * 3)
    config = TrainConfig(
        model=ModelConfig(name="test"),
        data=DataConfig(roots=[], augment=AugmentConfig()),
        loss=LossConfig(depth=0.0),
        schedule=StudentScheduleConfig(batch=2),
        distill=DistillConfig(**distill),
    )
    return StepBatches(spec, frames, config, RunPlan(steps=1), lidar_source(PointsConfig()))


def test_a_students_batch_holds_the_cloud_under_its_own_augmentation(frames):
    batch, source = student_batches(frames, teacher="a file")[0], lidar_source(PointsConfig())
    frame_of = {frame.key: frame for frame in frames}
    for rig, shown in enumerate(batch.shown):
        expected = source.augmented(frame_of[shown.key], shown.target_from_ego)
        np.testing.assert_array_equal(batch.points.points[batch.points.rig == rig].numpy(), expected)


def test_a_students_batch_has_no_cloud_without_a_teacher_or_where_its_outputs_are_kept(frames):
    assert student_batches(frames)[0].points is None
    assert student_batches(frames, teacher="a file", cache_bytes=1)[0].points is None
