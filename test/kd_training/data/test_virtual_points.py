"""Virtual points lie on their instance, whatever the lens; the masks' mistakes are the configured ones."""

from pathlib import Path

import numpy as np
import pytest
from support.clouds import surface, write_cloud
from support.nuscenes_tables import SCENES, VERSION, token, write_dataset
from support.training_data import lidar_source

from kd_perception.datasets.masks_and_depth import InstanceMask, write_mask
from kd_perception.datasets.nuscenes import CameraImage
from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.transforms import apply
from kd_training.config.sections import DataRoot
from kd_training.config.teacher import PointsConfig, VirtualPointsConfig
from kd_training.data.camera_returns import CameraReturns
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.held_points import inside
from kd_training.data.lidar_source import LidarSource
from kd_training.data.virtual_points import lift_instance, noisy_instances, virtual_points

CONFIG = VirtualPointsConfig(per_instance=30)


@pytest.fixture
def frame(tmp_path) -> TrainingFrame:
    """The first keyframe; every box is full of returns, and masks next to the pictures show where the boxes are."""
    root = write_dataset(tmp_path)
    frame = open_frames([DataRoot(root=str(root), version=VERSION)])[0]
    boxes, rng = frame.boxes, np.random.default_rng(0)
    points = [surface(rng, boxes.center[k], boxes.size[k], boxes.yaw[k], 200) for k in range(len(boxes))]
    write_cloud(frame, frame.lidar, apply(frame.frame.global_from_ego, np.concatenate(points)))
    tokens = {k: token(SCENES[0], "annotation", k, 0) for k in range(len(boxes))}
    for image in frame.frame.images:
        owner = np.full((image.camera.height, image.camera.width), -1)
        for k, corners in enumerate(boxes.corners()):
            pixels, _, seen = image.camera.project(corners)
            if seen.all():
                (left, top), (right, bottom) = pixels.min(0).astype(int), pixels.max(0).astype(int)
                owner[top:bottom, left:right] = k
        write_mask(root / "masks" / image.camera.name / f"{image.path.stem}.png", owner, tokens)
    return frame


def virtual(frame: TrainingFrame) -> np.ndarray:
    """Virtual points of a frame, from its own returns."""
    return virtual_points(frame, LidarSource(0).returns(frame), CONFIG)


def test_virtual_points_lie_in_the_boxes_of_their_class(frame):
    points = virtual(frame)
    assert points.dtype == np.float32 and len(points) >= 60 and len(points) % 30 == 0
    held = np.zeros(len(points), bool)
    for index in range(len(frame.boxes)):
        own = points[:, 5] == 1 + frame.boxes.label[index]
        held |= own & inside(points, frame.boxes, index, margin=1.0)
    assert held.mean() > 0.9  # a mask's corners show what is next to the box
    assert (points[:, 3:5] == 0).all()
    np.testing.assert_array_equal(points, virtual(frame))


def test_a_cloud_with_virtual_points_has_a_sixth_column_that_is_0_for_returns(frame):
    cloud = lidar_source(PointsConfig(virtual=CONFIG)).cloud(frame)
    plain = lidar_source(PointsConfig()).cloud(frame)
    assert plain.shape[1] == 5 and cloud.shape[1] == 6
    np.testing.assert_array_equal(cloud[cloud[:, 5] == 0][:, :5], plain)
    np.testing.assert_array_equal(cloud[cloud[:, 5] > 0], virtual(frame))


@pytest.mark.parametrize(
    ("lens", "coefficients"), [("none", ()), ("plumb_bob", (-0.2, 0.05, 0.001, 0.0, 0.0)), ("equidistant", (0.01,) * 4)]
)
def test_a_pixel_takes_the_range_of_the_nearest_return_and_is_lifted_through_the_lens(lens, coefficients):
    ideal = ring_rig(1, 200, 100)[0]
    camera = Camera("c", ideal.intrinsics, ideal.ego_from_camera, 200, 100, lens, coefficients)
    mask = np.zeros((100, 200), bool)
    mask[40:60, 80:120] = True
    returns = CameraReturns(np.array([[85.0, 50.0], [115.0, 50.0], [10.0, 10.0]]), np.array([8.0, 20.0, 3.0]))
    image = CameraImage(camera, Path("none.jpg"), 0, np.eye(4))
    points = lift_instance(image, returns, mask, 50, np.random.default_rng(0))
    pixels, _ = camera.project_local(points)
    assert len(points) == 50
    assert mask[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].all()
    np.testing.assert_allclose(pixels % 1.0, 0.5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), np.where(pixels[:, 0] < 100.0, 8.0, 20.0))


def test_an_instance_without_a_return_inside_gets_no_points():
    image = CameraImage(ring_rig(1, 200, 100)[0], Path("none.jpg"), 0, np.eye(4))
    returns = CameraReturns(np.array([[10.0, 10.0]]), np.array([3.0]))
    mask = np.zeros((100, 200), bool)
    mask[40:60, 80:120] = True
    assert lift_instance(image, returns, mask, 50, np.random.default_rng(0)).shape == (0, 3)


def test_a_return_at_the_very_edge_of_a_picture_stays_inside_it(frame, monkeypatch):
    width, height = frame.frame.images[0].camera.width, frame.frame.images[0].camera.height
    edge = np.array([[width - 1e-9, height - 1e-9]])  # rounded to float32 this is the next pixel
    monkeypatch.setattr(Camera, "project", lambda *_: (edge, np.array([5.0]), np.array([True])))
    columns, rows = LidarSource(0).returns(frame)[0].pixels.astype(int).T
    assert (columns, rows) == (width - 1, height - 1)


def instances(**noise) -> list[tuple[int, np.ndarray]]:
    index = np.zeros((60, 80), np.uint16)
    index[10:30, 10:30], index[40:44, 50:54] = 1, 2
    mask = InstanceMask(index, {1: "car", 2: "pedestrian"})
    config = VirtualPointsConfig(per_instance=5, **noise)
    found = []
    for seed in range(30):
        found += noisy_instances(None, mask, NUSCENES, config, np.random.default_rng(seed))
    return found


def test_masks_without_noise_are_what_the_files_say():
    found = instances()
    assert len(found) == 60
    assert [label for label, _ in found[:2]] == [CLASSES.index("car"), CLASSES.index("pedestrian")]
    assert found[0][1].sum() == 400 and found[1][1].sum() == 16


def test_noise_misses_renames_and_moves_edges_at_the_configured_rates():
    assert not instances(missed=1.0)
    assert 15 < len(instances(missed=0.5)) < 45
    named = [label for label, _ in instances(wrong_class=1.0)]
    assert CLASSES.index("car") not in named[::2] and len(set(named[::2])) > 4
    areas = {int(pixels.sum()) for _, pixels in instances(edge_pixels=1) if pixels[20, 20]}
    assert min(areas) < 400 < max(areas) and areas <= {18 * 18, 400, 400 + 80}
    assert all(label == CLASSES.index("car") for label, _ in instances(least_pixels=20))


def test_missing_masks_foreign_tokens_and_masks_of_other_pictures_are_named(frame):
    image = frame.frame.images[0]
    path = Path(frame.nusc.dataroot) / "masks" / image.camera.name / f"{image.path.stem}.png"
    write_mask(path, np.zeros((128, 352), np.int64), {0: "nobody"})
    with pytest.raises(DataError, match="'nobody', which is neither"):
        virtual(frame)
    write_mask(path, np.zeros((64, 352), np.int64), {0: "car"})
    with pytest.raises(DataError, match="352 x 64 pixels, the picture 352 x 128"):
        virtual(frame)
    path.unlink()
    with pytest.raises(DataError, match="--masks"):
        virtual(frame)
