"""A teacher's batches: a function of seed and step; truth follows the points, velocities and sizes included."""

import numpy as np
import pytest
import torch
from support.nuscenes_tables import VERSION, write_dataset

from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import StudentSpec
from kd_training.config.sections import AugmentConfig, DataRoot, ModelConfig
from kd_training.config.student_spec import student_spec
from kd_training.config.teacher import LidarAugmentConfig, LidarDataConfig, PasteConfig, PointsConfig
from kd_training.data.batches import StepBatches
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.lidar_batches import BevAugmentation, LidarBatch, LidarBatches, draw_bev_augmentation
from kd_training.data.points import PointSource
from kd_training.data.to_device import to_device

GRID = BevGrid.square(51.2, 0.8)


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    return open_frames([DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)])


def batches(frames, seed: int = 0, rank: int = 0) -> LidarBatches:
    source = PointSource(PointsConfig(), GRID, 0.4, 10**7)
    config = LidarDataConfig(paste=PasteConfig(counts={"car": 9}, least_points=1))
    return LidarBatches(GRID, source, frames, config, 2, seed, 10, rank, 2)


def same(first: LidarBatch, second: LidarBatch) -> bool:
    return torch.equal(first.points.points, second.points.points) and torch.equal(
        torch.nan_to_num(first.truth.codes), torch.nan_to_num(second.truth.codes)
    )


def test_a_step_is_always_the_same_batch_and_seeds_steps_and_ranks_differ(frames):
    three = batches(frames)[3]
    assert three.rigs == 2 and set(three.points.rig.tolist()) == {0, 1}
    assert same(three, batches(frames)[3])
    for other in (batches(frames)[4], batches(frames, rank=1)[3], batches(frames, seed=1)[3]):
        assert not same(three, other)
    assert same(three, to_device(three, torch.device("cpu")))


def test_a_scaled_world_scales_boxes_and_velocities_and_a_mirrored_one_mirrors_them(frames):
    boxes = frames[0].boxes
    doubled = BevAugmentation(np.eye(4), 2.0).boxes(boxes)
    np.testing.assert_allclose(doubled.center, 2.0 * boxes.center)
    np.testing.assert_allclose(doubled.size, 2.0 * boxes.size)
    np.testing.assert_allclose(doubled.velocity, 2.0 * boxes.velocity)
    worlds = [draw_bev_augmentation(np.random.default_rng(seed), LidarAugmentConfig()) for seed in range(20)]
    assert {round(np.linalg.det(world.target_from_ego[:3, :3])) for world in worlds} == {-1, 1}
    for world in worlds:
        np.testing.assert_allclose(world.target_from_ego @ world.target_from_ego.T, np.eye(4), atol=1e-12)
    still = draw_bev_augmentation(np.random.default_rng(0), LidarAugmentConfig(False, False, 0.0, 0.0))
    np.testing.assert_array_equal(still.matrix, np.eye(4))


def test_a_students_batch_holds_the_cloud_under_its_own_augmentation(frames):
    spec: StudentSpec = student_spec(ModelConfig(name="test"), (127.5,) * 3, (127.5,) * 3)
    source = PointSource(PointsConfig(), GRID, 0.4, 10**7)
    batch = StepBatches(spec, frames, AugmentConfig(), 2, 0, True, False, points=source)[0]
    frame_of = {frame.key: frame for frame in frames}
    for rig, (key, world) in enumerate(zip(batch.keys, batch.worlds, strict=True)):
        expected = source.augmented(frame_of[key], world)
        np.testing.assert_array_equal(batch.points.points[batch.points.rig == rig].numpy(), expected)
    assert StepBatches(spec, frames, AugmentConfig(), 2, 0, True, False)[0].points is None
