"""Samples of different rigs in one batch, cameras without an image, several LiDARs, and none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.clouds import write_cloud
from support.nuscenes_tables import SCENES, VERSION, four_and_seven, without_rows, write_dataset
from support.students import KINDS, narrow_student, shake
from support.tiny_runs import student_run, teacher_run
from support.training_data import lidar_source, no_augmentation

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.transforms import apply
from kd_training.batches.student_inputs import StudentInputs
from kd_training.config.sections import AugmentConfig, DataRoot
from kd_training.config.teacher import PointsConfig
from kd_training.data.augment import draw_augmentation
from kd_training.data.batches import Batch, collate
from kd_training.data.frame_checks import what_is_masked
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.lidar_source import LidarSource
from kd_training.data.samples import SampleReader, TrainingSample
from kd_training.models.students.bevdet import BevDet
from kd_training.tasks import build_task


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Four cameras in the first scene, whose second keyframe lacks the right one; seven in the other."""
    root = write_dataset(tmp_path_factory.mktemp("mixed"), rigs=four_and_seven())
    return without_rows(root, sorted((root / "samples" / "right").glob(f"{SCENES[0]}*"))[1].name)


@pytest.fixture(scope="module")
def frames(root) -> tuple[TrainingFrame, ...]:
    return open_frames([DataRoot(root=str(root), version=VERSION)])


def read(model: BevDet, frame: TrainingFrame) -> TrainingSample:
    """A sample with depth labels; with the moment half a second before, if the student has a memory."""
    previous = frame.earlier(np.random.default_rng(0), 0.4, 0.6) if model.spec.memory is not None else None
    earlier = [] if previous is None else [previous]
    reader = SampleReader(model.spec, LidarSource(0))
    return reader.read(frame, no_augmentation(model.spec, len(frame.cameras)), earlier)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_neighbours_in_a_batch_change_nothing(kind, frames):
    model = shake(narrow_student(kind))
    samples = [read(model, frame) for frame in (frames[0], frames[4], frames[1], frames[2])]
    assert [len(sample.rig.images) for sample in samples] == [4, 7, 4, 4]
    assert samples[2].rig.camera_valid.tolist() == [1.0, 0.0, 1.0, 1.0]
    batch = collate(samples, model.spec)
    together = model.train_forward(batch.inputs)
    first = 0
    for place, sample in enumerate(samples):
        single = collate([sample], model.spec)
        alone = model.train_forward(single.inputs)
        torch.testing.assert_close(together.heatmap[place], alone.heatmap[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.regression[place], alone.regression[0], atol=1e-4, rtol=1e-4)
        cameras = slice(first, first + len(sample.rig.images))
        if model.predicts_depth:
            torch.testing.assert_close(together.depth_logits[cameras], alone.depth_logits, atol=1e-4, rtol=1e-4)
        assert torch.equal(batch.depth[cameras], single.depth)
        first = cameras.stop
    if (
        model.spec.memory is not None
    ):  # the moment before the third sample lacks a camera, and is remembered all the same
        assert batch.inputs.previous.valid.tolist() == [0.0, 1.0, 1.0, 1.0]
        assert batch.inputs.previous.cameras.camera_valid.tolist()[-4:] == [1.0, 0.0, 1.0, 1.0]


def without_camera(inputs: StudentInputs, model: BevDet, index: int) -> StudentInputs:
    """The inputs of one rig without a camera and all that it contributes."""
    rows, columns = model.spec.feature_size
    kept = [camera for camera in range(len(inputs.cameras.images)) if camera != index]
    moved = {camera: place for place, camera in enumerate(kept)}
    owner = inputs.terms["pixel"] // (rows * columns)
    terms = {name: value[owner != index] for name, value in inputs.terms.items()}
    shift = torch.tensor([int(camera) - moved[int(camera)] for camera in owner[owner != index]])
    terms["pixel"] = terms["pixel"] - shift * rows * columns
    terms["depth"] = terms["depth"] - shift * rows * columns * model.spec.view.depth.count
    cameras = type(inputs.cameras)(inputs.cameras.images[kept], inputs.cameras.camera_valid[kept])
    return StudentInputs(1, cameras, terms)


@torch.inference_mode()
def test_a_masked_camera_contributes_nothing(frames):
    model = shake(narrow_student("bevdet"))
    inputs = collate([read(model, frames[1])], model.spec).inputs
    masked = model.train_forward(inputs)
    absent = model.train_forward(without_camera(inputs, model, 1))
    torch.testing.assert_close(masked.heatmap, absent.heatmap, atol=1e-4, rtol=1e-4)


def test_a_masked_camera_has_no_labels_and_is_counted(frames):
    spec = narrow_student("bevdet").spec
    sample = SampleReader(spec, LidarSource(0)).read(frames[1], no_augmentation(spec, 4))
    assert (sample.depth[1] == -1).all() and (sample.depth[0] >= 0).any() and not sample.rig.images[1].any()
    assert what_is_masked(frames) == ["the tables lack images, their cameras are masked (of 6 keyframes): right in 1"]
    assert what_is_masked(frames[2:]) == []


def test_only_cameras_that_are_there_are_dropped_and_one_of_them_stays():
    config = AugmentConfig(camera_drop=1.0, camera_drop_most=9)
    rng = np.random.default_rng(0)
    drawn = [draw_augmentation(rng, config, 4, (64, 96), there=[0, 3]).dropped for _ in range(40)]
    assert set(drawn) == {(0,), (3,)}
    assert draw_augmentation(rng, config, 4, (64, 96), there=[]).dropped == ()


def test_several_lidars_are_one_cloud_in_ego(tmp_path):
    """Each by its own mounting, time and sweeps: what one stands for, the other does, too."""
    frame = open_frames([DataRoot(root=str(write_dataset(tmp_path, rigs=four_and_seven())), version=VERSION)])[1]
    left, right = frame.lidars
    assert (left["channel"], right["channel"]) == ("lidar_left", "lidar_right")
    rng = np.random.default_rng(0)
    places = [
        np.column_stack([rng.uniform(5, 20, (50, 2)), rng.uniform(0, 2, 50)]) + [0, shift, 0] for shift in (0, -30)
    ]
    for row, points in zip(frame.lidars, places, strict=True):
        write_cloud(frame, row, apply(frame.frame.global_from_ego, points))
    source = lidar_source(PointsConfig(sweeps=1, per_pillar=0))
    cloud = source.cloud(frame)
    np.testing.assert_allclose(cloud[:, :3], np.concatenate(places), atol=1e-3)
    np.testing.assert_allclose(np.unique(cloud[:, 4]), [-0.004, 0.0], atol=1e-6)
    returns = source.returns(frame)
    assert len(returns) == 4 and all(len(seen.ranges) for seen in returns if seen is not returns[2])
    with_sweeps = lidar_source(PointsConfig(sweeps=2, per_pillar=0)).cloud(frame)
    older = with_sweeps[with_sweeps[:, 4] > 0.1]
    np.testing.assert_allclose(np.unique(older[:, 4]), [0.246, 0.25], atol=1e-6)
    lost = replace(frame, lidars=frame.lidars[:1])
    np.testing.assert_allclose(source.cloud(lost), cloud)  # kept by its key
    np.testing.assert_allclose(
        lidar_source(PointsConfig(sweeps=1, per_pillar=0)).cloud(lost)[:, :3], places[0], atol=1e-3
    )


def test_camera_only_data_train_a_student_without_depth_labels_and_no_teacher(tmp_path):
    root = without_rows(write_dataset(tmp_path, rigs=four_and_seven()), "/lidar_", "/roof/")
    (sentence,) = what_is_masked(open_frames([DataRoot(root=str(root), version=VERSION)]))
    assert sentence == "6 of 6 keyframes have no LiDAR and therefore no depth labels"
    config = student_run(root)
    with pytest.raises(ConfigError, match="no keyframe of data.roots has a LiDAR.*set loss.depth=0"):
        build_task(config)
    config.loss.depth = 0.0
    assert len(build_task(config).frames) == 6
    with pytest.raises(DataError, match=r"6 of 6 keyframes .* no LiDAR .*sample \w+ of scene 'scene-north'"):
        build_task(teacher_run(root))


def test_a_set_without_lidar_next_to_one_with_it_has_no_depth_labels(tmp_path, frames):
    root = without_rows(write_dataset(tmp_path, rigs=four_and_seven()), "/lidar_")
    spec = narrow_student("bevdet").spec
    mixed = open_frames([DataRoot(root=str(root), version=VERSION)])
    batch: Batch = collate(
        [
            SampleReader(spec, LidarSource(0)).read(frame, no_augmentation(spec, len(frame.cameras)))
            for frame in mixed[2:4]
        ],
        spec,
    )
    assert (batch.depth[:4] == -1).all() and (batch.depth[4:] >= 0).any()


def test_the_anchor_of_a_configuration_is_checked(root):
    config = student_run(root)
    config.data.anchor = "rear"
    assert [frame.cameras[0].name for frame in build_task(config).frames] == ["rear"] * 3 + ["cam0"] * 3
    config.data.anchor = "reer"
    with pytest.raises(ConfigError, match="no scene has the camera 'reer'"):
        build_task(config)
