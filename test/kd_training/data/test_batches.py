"""Batches: a function of seed and step; augmentation keeps boxes where the images show them."""

import dataclasses

import numpy as np
import pytest
import torch
from support.nuscenes_tables import VERSION, write_dataset
from support.training_data import step_batches

from kd_perception.student.preprocess import fit_image
from kd_perception.student.spec import StudentSpec
from kd_training.batches.run_plan import RunPlan
from kd_training.config.sections import AugmentConfig, DataRoot, ModelConfig
from kd_training.config.student_spec import student_spec
from kd_training.data.augment import draw_augmentation
from kd_training.data.batches import Batch, StepBatches
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.lidar_source import LidarSource
from kd_training.data.samples import SampleReader
from kd_training.data.sampling import FrameSampler, frame_weights

SPEC: StudentSpec = student_spec(ModelConfig(name="test"), (127.5,) * 3, (127.5,) * 3)


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    return open_frames([DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)])


def equal(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor | np.ndarray):
        return np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True)
    if dataclasses.is_dataclass(first) or isinstance(first, Batch):
        return equal(vars(first), vars(second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def test_a_step_is_always_the_same_batch_and_ranks_differ(frames):
    def make(seed: int, rank: int) -> StepBatches:
        plan = RunPlan(steps=9, rank=rank, processes=2)
        return step_batches(SPEC, frames, AugmentConfig(), seed=seed, balance=True, plan=plan)

    assert equal(make(0, 0)[3], make(0, 0)[3])
    assert not equal(make(0, 0)[3], make(0, 0)[4])
    assert not equal(make(0, 0)[3], make(0, 1)[3])
    assert not equal(make(0, 0)[3], make(1, 0)[3])


def test_without_balance_every_epoch_shows_every_frame_once(frames):
    sampler = FrameSampler(frames, 5, balance=False)
    tokens = {frame.frame.sample_token for frame in frames}
    for epoch in range(2):
        drawn = [sampler.at(epoch * len(frames) + i, np.random.default_rng(0)) for i in range(len(frames))]
        assert len(drawn) == len(tokens) and {frame.frame.sample_token for frame in drawn} == tokens


def test_rare_classes_are_drawn_more_often(frames):
    plain, only_common = frames[0], frames[1]
    common = plain.boxes.label == 0
    only_common = dataclasses.replace(only_common, boxes=plain.boxes[common])
    weights = frame_weights((plain, only_common, only_common))
    assert weights[0] > weights[1] and weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_augmented_boxes_project_to_the_same_image_content(frames, seed):
    """A box centre under BEV augmentation, seen by the augmented rig, is where the augmented image shows the original
    centre.
    """
    frame = frames[0]
    config = AugmentConfig(mirror=True, bev_rotation=0.4, image_scale=0.1, image_rotation=0.05)
    augmentation = draw_augmentation(np.random.default_rng(seed), config, 6, SPEC.image_size)
    moved = frame.boxes.transformed(augmentation.target_from_ego)
    checked = 0
    for index, (before, after) in enumerate(zip(frame.cameras, augmentation.cameras(frame.cameras), strict=True)):
        original, range_before, seen = before.project(frame.boxes.center)
        turned, range_after, seen_after = after.project(moved.center)
        assert (seen == seen_after).all()
        np.testing.assert_allclose(turned[seen], original[seen], atol=1e-6)
        np.testing.assert_allclose(range_after, range_before, atol=1e-9)
        checked += seen.sum()
        affine = augmentation.network_from_network[index] @ fit_image((before.height, before.width), SPEC.image_size)
        flipped = np.linalg.det(affine[:2, :2]) < 0
        assert flipped == (
            np.linalg.det(augmentation.target_from_ego[:3, :3]) < 0
        )  # images are mirrored with the BEV plane
    assert checked


def test_a_mirror_reverses_headings_and_velocities(frames):
    boxes = frames[0].boxes
    mirrored = boxes.transformed(np.diag([1.0, -1.0, 1.0, 1.0]))
    np.testing.assert_allclose(np.cos(mirrored.yaw), np.cos(boxes.yaw), atol=1e-9)
    np.testing.assert_allclose(np.sin(mirrored.yaw), -np.sin(boxes.yaw), atol=1e-9)
    np.testing.assert_allclose(mirrored.velocity, boxes.velocity * [1.0, -1.0])


def test_a_dropped_camera_is_black_invalid_and_without_depth(frames):
    augmentation = draw_augmentation(np.random.default_rng(0), AugmentConfig(camera_drop=1.0), 6, SPEC.image_size)
    sample = SampleReader(SPEC, depth_from=LidarSource(0)).read(frames[0], augmentation)
    (dropped,) = augmentation.dropped
    assert sample.rig.camera_valid.tolist() == [float(index != dropped) for index in range(6)]
    assert not sample.rig.images[dropped].any() and sample.rig.images.any(axis=(1, 2, 3)).sum() == 5
    assert (sample.depth[dropped] == -1).all()
