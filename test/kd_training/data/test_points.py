"""A keyframe's cloud: sweeps meet in one frame with their ages, the car itself is gone, crowds are thinned; bad files
are named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nuscenes.eval.detection.utils import category_to_detection_name
from support.clouds import lidar_rows, surface, write_cloud
from support.nuscenes_tables import VERSION, write_dataset
from support.real_data import real_data
from support.training_data import lidar_source

from kd_perception.datasets.nuscenes import ego_pose
from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply
from kd_training.config.sections import DataRoot
from kd_training.config.teacher import LidarAugmentConfig, PointsConfig
from kd_training.data.bev_augmentation import draw_bev_augmentation
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.held_points import inside
from kd_training.data.points import collate_points

GRID = BevGrid.square(51.2, 0.8)
PLAIN = PointsConfig(per_pillar=0)


@pytest.fixture
def frames(tmp_path) -> tuple[TrainingFrame, ...]:
    """The first scene's three keyframes, one sweep between them."""
    return open_frames([DataRoot(root=str(write_dataset(tmp_path)), version=VERSION)])[:3]


def cloud(frame: TrainingFrame, config: PointsConfig = PLAIN) -> np.ndarray:
    return lidar_source(config, cache_bytes=0).cloud(frame)


def test_what_stands_still_is_at_one_place_in_all_sweeps(frames):
    """The ego drives 2 m/s and turns; every sensor has its own time: the points meet again in the keyframe's ego."""
    last = frames[2]
    in_ego = np.array([[12.0, 3.0, 0.5], [-20.0, -8.0, 1.5], [5.0, 30.0, -0.5]])
    rows = lidar_rows(last)
    for row in rows:
        write_cloud(last, row, apply(last.frame.global_from_ego, in_ego))
    points = cloud(last)
    assert len(rows) == 5 and points.dtype == np.float32 and points.shape == (15, 5)
    np.testing.assert_allclose(points[:, :3], np.tile(in_ego, (5, 1)), atol=2e-4)
    np.testing.assert_allclose(points[:, 3], 0.2)
    np.testing.assert_allclose(points[:, 4], np.repeat([0.0, 0.25, 0.5, 0.75, 1.0], 3), atol=1e-5)


def test_fewer_sweeps_where_the_recording_has_fewer_and_never_more_than_asked(frames):
    assert set(np.round(cloud(frames[0])[:, 4], 2)) == {0.0}
    assert set(np.round(cloud(frames[1])[:, 4], 2)) == {0.0, 0.25, 0.5}
    two = cloud(frames[2], PointsConfig(sweeps=2, per_pillar=0))
    assert set(np.round(two[:, 4], 2)) == {0.0, 0.25}


def test_the_car_itself_is_removed_where_it_was_in_each_sweep(frames):
    last = frames[2]
    rows = lidar_rows(last)[:2]
    for row in rows:
        on_the_car_and_next_to_it = np.array([[1.5, 0.5, 0.8], [1.5, 2.0, 0.8]])
        write_cloud(last, row, apply(ego_pose(last.nusc, row), on_the_car_and_next_to_it))
    points = cloud(last, PointsConfig(sweeps=2, per_pillar=0))
    assert len(points) == 2 and (points[:, 1] > 1.5).all()


def test_crowded_pillars_are_thinned_sparse_ones_stay_whole_and_it_is_always_the_same(frames):
    first = frames[0]
    rng = np.random.default_rng(0)
    crowd = rng.uniform([8.05, 8.05, 0.0], [8.35, 8.35, 1.0], (4000, 3))
    sparse = np.column_stack([np.linspace(-40, -10, 60), np.full(60, 20.0), np.zeros(60)])
    write_cloud(first, first.lidar, apply(first.frame.global_from_ego, np.concatenate([crowd, sparse])))
    thin = PointsConfig(per_pillar=20)
    points = cloud(first, thin)
    assert np.count_nonzero(points[:, 0] < 0) == 60
    assert 5 <= np.count_nonzero(points[:, 0] > 0) <= 45
    np.testing.assert_array_equal(points, cloud(first, thin))
    assert len(cloud(first, PointsConfig(per_pillar=0, most=100))) == 100


def test_points_and_boxes_are_augmented_alike(frames):
    frame = frames[0]
    boxes, rng = frame.boxes, np.random.default_rng(0)
    points = [surface(rng, boxes.center[k], boxes.size[k], boxes.yaw[k], 10 + k) for k in range(len(boxes))]
    write_cloud(frame, frame.lidar, apply(frame.frame.global_from_ego, np.concatenate(points)))
    source = lidar_source(PLAIN)
    held = [np.count_nonzero(inside(source.cloud(frame), frame.boxes, index)) for index in range(len(frame.boxes))]
    assert held == [10 + k for k in range(len(boxes))]
    for seed in range(4):
        augmentation = draw_bev_augmentation(np.random.default_rng(seed), LidarAugmentConfig(scale=0.2))
        moved, boxes = source.augmented(frame, augmentation.matrix), augmentation.boxes(frame.boxes)
        assert [np.count_nonzero(inside(moved, boxes, index)) for index in range(len(boxes))] == held


def test_data_sets_with_the_same_tokens_keep_their_own_clouds(frames, tmp_path):
    """The same scenes rendered by day and by night: one seed, one set of tokens, two clouds."""
    other = open_frames([DataRoot(root=str(write_dataset(tmp_path / "other")), version=VERSION)])[0]
    write_cloud(other, other.lidar, apply(other.frame.global_from_ego, np.array([[9.0, 9.0, 1.0]])))
    source = lidar_source(PLAIN)
    assert other.frame.sample_token == frames[0].frame.sample_token
    assert len(source.cloud(frames[0])) > 100 and len(source.cloud(other)) == 1


def test_a_cloud_is_cut_to_the_grid(frames):
    points = lidar_source(PLAIN, extent=12.8).augmented(frames[0], np.eye(4))
    assert len(points) and (np.abs(points[:, :2]) <= 12.8).all()


def test_clouds_of_several_rigs_stand_behind_each_other():
    joined = collate_points([np.ones((2, 5), np.float32), np.zeros((0, 5), np.float32), np.ones((1, 5), np.float32)])
    assert joined.points.shape == (3, 5) and joined.rig.tolist() == [0, 0, 2]


def damage(frame: TrainingFrame, content: bytes | None) -> None:
    path = Path(frame.nusc.dataroot) / frame.lidar["filename"]
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is missing"), (b"", "is empty"), (b"1234" * 7, "is truncated")]
)
def test_a_bad_sweep_is_named(frames, content, message):
    damage(frames[0], content)
    with pytest.raises(DataError, match=message) as caught:
        cloud(frames[0])
    assert frames[0].lidar["filename"] in str(caught.value)


def test_points_that_are_no_numbers_do_not_count_and_a_cloud_without_others_is_named(frames):
    first = frames[0]
    good, far = np.array([[9.0, 9.0, 1.0], [9.0, 8.0, 1.0]]), np.array([[5000.0, 0.0, 0.0]])
    write_cloud(first, first.lidar, apply(first.frame.global_from_ego, np.concatenate([good, far * np.nan, far])))
    assert len(cloud(first)) == 2
    write_cloud(first, first.lidar, apply(first.frame.global_from_ego, far))
    with pytest.raises(DataError, match="no points within 76.8 m and -3 to 5 m of height"):
        cloud(first)


def test_tables_without_a_lidar_are_named(frames):
    with pytest.raises(DataError, match="has no LiDAR"):
        cloud(replace(frames[0], lidars=()))


def test_real_boxes_hold_the_returns_that_their_annotations_count():
    """Sensor poses, ego motion between LiDAR and anchor camera, and box geometry on a real nuScenes keyframe."""
    (frame,) = open_frames([DataRoot(root=str(real_data("nuscenes-real")), version="v1.0-mini")])
    points = cloud(frame)
    rows = [frame.nusc.get("sample_annotation", t) for t in frame.nusc.get("sample", frame.frame.sample_token)["anns"]]
    rows = [row for row in rows if category_to_detection_name(row["category_name"]) is not None]
    counts = np.array([row["num_lidar_pts"] for row in rows if row["num_lidar_pts"] + row["num_radar_pts"] > 0])
    held = np.array([np.count_nonzero(inside(points, frame.boxes, index)) for index in range(len(counts))])
    near = np.linalg.norm(frame.boxes.center[:, :2], axis=1) < 70.0
    assert len(counts) == len(frame.boxes) and near.sum() > 30
    assert (np.abs(held - counts)[near] <= np.maximum(2, 0.06 * counts[near])).all()
