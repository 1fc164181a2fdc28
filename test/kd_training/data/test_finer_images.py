"""A camera teacher sees the same world in more pixels: u_T = s u, with pixel centres at .5, under one augmentation."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support.nuscenes_tables import IMAGE_SIZE, VERSION, write_dataset

from kd_training.config.sections import AugmentConfig, DataRoot, ModelConfig, TemporalConfig, ViewConfig
from kd_training.config.student_spec import student_spec
from kd_training.data.augment import draw_augmentation
from kd_training.data.batches import collate
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.samples import SampleReader
from kd_training.distill.scale.levels import sampled

CONFIG = AugmentConfig(mirror=True, bev_rotation=0.4, image_scale=0.1, image_rotation=0.05, colour=0.0, camera_drop=0.0)
MEMORY = TemporalConfig(frames=2)


def spec_of(height: int, width: int, temporal: TemporalConfig | None = None):
    view = ViewConfig(heights=[0.5], depth_bins=8)
    model = ModelConfig(
        name="test", image_height=height, image_width=width, view=view, temporal=temporal or TemporalConfig()
    )
    return student_spec(model, (127.5,) * 3, (127.5,) * 3)


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> TrainingFrame:
    """A keyframe whose pictures are ramps: red grows to the right in the middle, green downwards, by 2 a pixel: means
    of four are whole numbers, so that rounding has no say."""
    root = write_dataset(tmp_path_factory.mktemp("painted"))
    frame = open_frames([DataRoot(root=str(root), version=VERSION)])[1]
    width, height = IMAGE_SIZE
    columns, rows = np.meshgrid(2 * (np.arange(width) - (width - height) // 2), 2 * np.arange(height))
    ramp = np.stack([columns, rows, np.full_like(rows, 9)], axis=2).clip(0, 255).astype(np.uint8)
    path = Path(root) / "ramp.png"
    cv2.imwrite(str(path), ramp[:, :, ::-1])
    images = [replace(image, path=path) for image in frame.frame.images]
    return replace(frame, frame=replace(frame.frame, images=images))


@pytest.mark.parametrize(("size", "seed"), [((64, 176), 0), ((64, 176), 1), ((96, 264), 2), ((96, 264), 3)])
def test_a_ramp_looks_the_same_at_places_that_are_as_much_larger(frame, size, seed):
    """Half a pixel of the teacher's would be one grey value."""
    student, teacher = spec_of(*size), spec_of(128, 352)
    augmentation = draw_augmentation(np.random.default_rng(seed), CONFIG, 6, student.image_size)
    sample = SampleReader(student, finer=teacher).read(frame, augmentation)
    ratio = 128 / size[0]
    coarse, fine = (torch.from_numpy(rig.images).permute(0, 3, 1, 2).float() for rig in (sample.rig, sample.finer.rig))
    seen = sampled(fine, size, ratio)
    rows, columns = (slice(count // 4, -count // 4) for count in size)
    seen, coarse = seen[:, :2, rows, columns], coarse[:, :2, rows, columns]
    ramp = (coarse > 20.0) & (coarse < 230.0)
    apart = torch.where(ramp, seen - coarse, 0.0)
    assert ramp.float().mean() > 0.5 and apart.abs().max() < 3.0
    assert (apart.sum(dim=(2, 3)) / ramp.sum(dim=(2, 3))).abs().max() < 0.15
    for own, finer in zip(
        sample.rig.geometry.network_from_image, sample.finer.rig.geometry.network_from_image, strict=True
    ):
        np.testing.assert_allclose(finer[:2], ratio * own[:2], atol=1e-9)


def test_a_batch_has_the_teachers_images_and_its_own_earlier_frames(frame):
    """The earlier moment is the student's; a teacher without memory has none; a camera that is dropped is for both."""
    config = replace(CONFIG, camera_drop=1.0)
    for memory in (MEMORY, None):
        student, teacher = spec_of(64, 176, MEMORY), spec_of(128, 352, memory)
        augmentation = draw_augmentation(np.random.default_rng(0), config, 6, student.image_size)
        reader = SampleReader(student, finer=teacher)
        earlier = frame.earlier(np.random.default_rng(0), 0.1, 1.0)
        batch = collate([reader.read(frame, augmentation, [earlier])] * 2, student, teacher).to(torch.device("cpu"))
        assert batch.finer.cameras.images.shape == (12, 128, 352, 3) and batch.finer.rigs == 2
        assert torch.equal(batch.finer.cameras.camera_valid, batch.inputs.cameras.camera_valid)
        assert batch.finer.cameras.camera_valid.sum() == 10
        assert (batch.finer.previous is None) == (memory is None)
    assert batch.inputs.previous.cameras.images.shape == (12, 64, 176, 3)
