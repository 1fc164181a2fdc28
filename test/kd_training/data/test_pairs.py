"""Pairs of frames: the earlier moment is one that exists, and the warp of augmented samples keeps what stands still."""

import numpy as np
import pytest
import torch
from support.nuscenes_tables import VERSION, write_dataset
from support.training_data import step_batches
from torch.nn import functional

from kd_perception.errors import ConfigError
from kd_perception.geometry.transforms import apply, invert
from kd_perception.student.spec import MemorySpec, StudentSpec
from kd_training.config.sections import AugmentConfig, DataRoot, ModelConfig, TemporalConfig
from kd_training.config.student_spec import student_spec
from kd_training.data.augment import draw_augmentation
from kd_training.data.batches import collate
from kd_training.data.frame_checks import check_intervals
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.samples import SampleReader

MODEL = ModelConfig(name="test", temporal=TemporalConfig(frames=2))
SPEC: StudentSpec = student_spec(MODEL, (127.5,) * 3, (127.5,) * 3)
READER = SampleReader(SPEC)


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    return open_frames([DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)])


def test_earlier_moments_are_the_scenes_own_between_and_at_keyframes(frames):
    rng = np.random.default_rng(0)
    last = frames[2]  # the third keyframe of the first scene: frames 0.25, 0.5, 0.75 and 1 s before it exist
    intervals = set()
    for _ in range(60):
        previous = last.earlier(rng, 0.1, 1.0)
        assert previous.scene == last.frame.scene
        intervals.add(round((last.frame.timestamp_us - previous.timestamp_us) / 1e6, 3))
    assert intervals == {0.25, 0.5, 0.75, 1.0}
    assert frames[0].earlier(rng, 0.1, 1.0) is None  # nothing is before the first
    assert last.earlier(rng, 0.3, 0.4) is None
    between = last.earlier(rng, 0.2, 0.3)
    assert between.sample_token == "" and all(image.path.parent.parent.name == "sweeps" for image in between.images)
    assert [image.camera.name for image in between.images] == [image.camera.name for image in last.frame.images]


@pytest.mark.parametrize("seed", range(6))
def test_the_warp_of_an_augmented_pair_finds_what_stands_still_again(frames, seed):
    """Sampling the earlier grid's own coordinates through the warp gives where the earlier rig has a point."""
    rng = np.random.default_rng(seed)
    frame, config = frames[2], AugmentConfig(mirror=True, bev_rotation=0.4, camera_drop=0.0)
    previous = frame.earlier(rng, 0.1, 1.0)
    augmentation = draw_augmentation(rng, config, 6, SPEC.image_size)
    warp = READER.read(frame, augmentation, [previous]).previous.warp
    grid = SPEC.grid
    points = np.column_stack([rng.uniform(-30.0, 30.0, (20, 2)), np.zeros(20)])  # on the ground, in global-aligned ego
    turn = augmentation.target_from_ego
    now = apply(turn, points)[:, :2]
    motion = invert(previous.global_from_ego) @ frame.frame.global_from_ego
    then = apply(turn @ motion, points)[:, :2]
    image = torch.from_numpy(grid.centers().transpose(2, 0, 1)[None].copy()).float()  # each cell holds its own metres
    warped = functional.grid_sample(image, torch.from_numpy(warp)[None], align_corners=False)[0].numpy()
    cells = np.floor(grid.to_cells(now)).astype(int)
    offset = now - grid.centers()[cells[:, 1], cells[:, 0]]
    found = warped[:, cells[:, 1], cells[:, 0]].T
    assert np.abs(then - found - offset).max() < np.abs(offset).max()  # the same cell, up to where in it the point lies
    assert np.abs(now - then).max() > 0.05  # the ego did move


def test_samples_without_memory_keep_their_place_in_the_batch(frames):
    rng = np.random.default_rng(3)
    augmentation = draw_augmentation(rng, AugmentConfig(camera_drop=0.0), 6, SPEC.image_size)
    with_memory = READER.read(frames[2], augmentation, [frames[2].earlier(rng, 0.1, 1.0)])
    without = READER.read(frames[0], augmentation)
    batch = collate([without, with_memory], SPEC)
    previous = batch.inputs.previous
    assert previous.valid.tolist() == [0.0, 1.0] and len(previous.cameras.images) == 6
    assert previous.interval[0] == SPEC.memory.interval_s
    cells = SPEC.grid.shape[0] * SPEC.grid.shape[1]
    assert previous.terms["cell"].min() >= cells  # they belong to the second rig
    np.testing.assert_array_equal(previous.terms["cell"], with_memory.previous.rig.geometry.terms.cell + cells)
    np.testing.assert_array_equal(previous.terms["pixel"], with_memory.previous.rig.geometry.terms.pixel)
    empty = collate([without, without], SPEC).inputs.previous
    assert empty.valid.tolist() == [0.0, 0.0] and not len(empty.cameras.images) and not len(empty.terms["cell"])


def test_a_step_is_always_the_same_pairs(frames):
    first, again, other = (step_batches(SPEC, frames[2:3], AugmentConfig(), seed=seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first.inputs.previous.cameras.images, again.inputs.previous.cameras.images)
    assert torch.equal(first.inputs.previous.warp, again.inputs.previous.warp)
    assert torch.equal(first.inputs.previous.interval, again.inputs.previous.interval)
    assert not torch.equal(first.inputs.previous.warp, other.inputs.previous.warp)


def test_memory_is_dropped_at_the_configured_rate(frames):
    for rate, expected in ((0.0, 1.0), (1.0, 0.0)):
        batches = step_batches(SPEC, frames[2:3], AugmentConfig(memory_drop=rate))
        assert (batches[0].inputs.previous.valid == expected).all()


def test_intervals_that_the_data_lacks_are_refused(frames):
    check_intervals(frames, MemorySpec(8, 0.5, 0.25, 1.0))
    with pytest.raises(ConfigError, match=r"0\.25 to 1\.00 s apart, but model\.temporal says 0\.1 to 1 s"):
        check_intervals(frames, MemorySpec(8, 0.5, 0.1, 1.0))
    with pytest.raises(ConfigError, match="but model.temporal says 0.25 to 2 s"):
        check_intervals(frames, MemorySpec(8, 0.5, 0.25, 2.0))
    with pytest.raises(ConfigError, match="no two camera frames"):
        check_intervals(frames, MemorySpec(8, 0.05, 0.01, 0.1))


def test_both_frames_lose_the_same_cameras(frames):
    rng = np.random.default_rng(1)
    config = AugmentConfig(camera_drop=1.0, camera_drop_most=3)
    counts = set()
    for _ in range(8):
        augmentation = draw_augmentation(rng, config, 6, SPEC.image_size)
        sample = READER.read(frames[2], augmentation, [frames[2].earlier(rng, 0.1, 1.0)])
        counts.add(int(6 - sample.rig.camera_valid.sum()))
        np.testing.assert_array_equal(sample.rig.camera_valid, sample.previous.rig.camera_valid)
        for index in augmentation.dropped:
            assert not sample.rig.images[index].any() and not sample.previous.rig.images[index].any()
    assert counts <= {1, 2, 3} and len(counts) > 1
    alone = draw_augmentation(rng, AugmentConfig(camera_drop=1.0, camera_drop_most=9), 2, SPEC.image_size)
    assert len(alone.dropped) == 1  # never all
