"""Camera parameters of augmented samples: what the student gets of a camera is what its augmented image shows."""

from dataclasses import replace

import numpy as np
import pytest
from support.nuscenes_tables import VERSION, write_dataset

from kd_perception.geometry.transforms import apply, invert
from kd_perception.student.camera_params import CAMERA_PARAMS
from kd_training.config.sections import AugmentConfig, DataRoot, ModelConfig, TemporalConfig
from kd_training.config.student_spec import student_spec
from kd_training.data.augment import AS_IT_IS, draw_augmentation
from kd_training.data.batches import collate
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.samples import SampleReader

MODEL = ModelConfig(name="test", camera_aware=True, temporal=TemporalConfig(frames=2))
SPEC = student_spec(MODEL, (127.5,) * 3, (127.5,) * 3)
READER = SampleReader(SPEC)
CONFIG = AugmentConfig(mirror=True, bev_rotation=0.4, image_scale=0.1, image_rotation=0.05, camera_drop=0.0)


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    return open_frames([DataRoot(root=str(write_dataset(tmp_path_factory.mktemp("painted"))), version=VERSION)])


@pytest.mark.parametrize("seed", range(6))
def test_rays_under_bev_augmentation_end_where_the_augmented_image_shows_their_pixels(frames, seed):
    frame = frames[2]
    augmentation = draw_augmentation(np.random.default_rng(seed), CONFIG, 6, SPEC.image_size)
    rig = READER.read(frame, augmentation).rig
    height, width = SPEC.image_size
    v, u = np.meshgrid(np.array([1, 3, 5]) / 6 * height, np.array([1, 3, 5]) / 6 * width, indexing="ij")
    for params, camera, affine in zip(
        rig.geometry.camera_params, frame.cameras, rig.geometry.network_from_image, strict=True
    ):
        ends = params[:3] + 20.0 * params[3:].reshape(-1, 3)  # turned, maybe mirrored
        pixels, _, _ = camera.project(apply(invert(augmentation.target_from_ego), ends))
        shown = pixels @ affine[:2, :2].T + affine[:2, 2]
        np.testing.assert_allclose(shown, np.column_stack([u.ravel(), v.ravel()]), atol=2e-2)


def test_a_batch_has_the_parameters_of_its_cameras_and_of_the_earlier_ones(frames):
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(2):
        augmentation = draw_augmentation(rng, CONFIG, 6, SPEC.image_size)
        samples.append(READER.read(frames[2], augmentation, [frames[2].earlier(rng, 0.1, 1.0)]))
    samples.append(READER.read(frames[0], augmentation))
    inputs = collate(samples, SPEC).inputs
    assert inputs.cameras.camera_params.shape == (18, CAMERA_PARAMS)
    assert inputs.previous.cameras.camera_params.shape == (12, CAMERA_PARAMS)
    np.testing.assert_array_equal(inputs.cameras.camera_params[6:12], samples[1].rig.geometry.camera_params)
    assert np.abs(samples[0].rig.geometry.camera_params - samples[1].rig.geometry.camera_params).max() > 0.01
    # The rig did not change between the frames, nor does the augmentation.
    np.testing.assert_array_equal(inputs.previous.cameras.camera_params, inputs.cameras.camera_params[:12])
    assert collate(samples[2:], SPEC).inputs.previous.cameras.camera_params.shape == (0, CAMERA_PARAMS)


def test_frames_of_one_rig_share_its_geometry_unless_an_augmentation_moves_it(frames):
    """Evaluation shows one rig as it is: its tables are made once."""
    reader, rng = SampleReader(SPEC), np.random.default_rng(0)
    as_it_is = [draw_augmentation(rng, AS_IT_IS, 6, SPEC.image_size) for _ in range(2)]
    first, second = (reader.read(frame, one).rig for frame, one in zip(frames[:2], as_it_is, strict=True))
    assert first.geometry is second.geometry and (first.images != second.images).any()
    augmented = draw_augmentation(rng, CONFIG, 6, SPEC.image_size)
    moved = reader.read(frames[0], augmented).rig.geometry
    alone = SampleReader(SPEC).read(frames[0], augmented).rig.geometry
    assert len(moved.terms.cell) != len(first.geometry.terms.cell)
    np.testing.assert_array_equal(moved.terms.depth, alone.terms.depth)
    turned = replace(augmented, network_from_network=as_it_is[0].network_from_network)
    assert reader.read(frames[0], turned).rig.geometry is not moved


def test_another_calibration_is_another_geometry(frames):
    reader = SampleReader(SPEC)
    as_it_is = draw_augmentation(np.random.default_rng(0), AS_IT_IS, 6, SPEC.image_size)
    images = list(frames[0].frame.images)
    lifted = images[0].camera.ego_from_camera + np.diag([0.0, 0.0, 1.0, 0.0])[:, [0, 1, 3, 2]]
    images[0] = replace(images[0], camera=replace(images[0].camera, ego_from_camera=lifted))
    other = replace(frames[0], frame=replace(frames[0].frame, images=tuple(images)))
    geometries = [reader.read(frame, as_it_is).rig.geometry for frame in (frames[0], other, frames[0])]
    heights = [geometry.camera_params[0, 2] for geometry in geometries]
    assert heights[1] == pytest.approx(heights[0] + 1.0) and heights[2] == heights[0]
    np.testing.assert_array_equal(geometries[0].terms.depth, geometries[2].terms.depth)
