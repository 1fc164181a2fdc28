"""The splat tree sums exactly what a scatter with addition would, with shapes that depend on the camera count only."""

from dataclasses import replace

import numpy as np
import pytest

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import DepthBins, ViewSpec
from kd_perception.student.view_tables.splat import LEVELS, splat_cells, splat_tables

GRID = BevGrid(-25.6, 25.6, -25.6, 25.6, 0.8)
IMAGE_SIZE = (64, 176)
VIEW = ViewSpec("splat", 8, DepthBins(1.0, 1.0, 30), (), (-1.0, 3.0))


def tree_sum(tables: dict[str, np.ndarray], probability: np.ndarray, context: np.ndarray) -> np.ndarray:
    """(rows * columns, channels) as the file computes it: Gather and Add only."""
    level = context[tables["pixel_index"]] * np.append(probability, 0.0)[tables["depth_index"], None]
    for index in range(1, LEVELS + 1):
        level = level[tables[f"left_{index}"]] + level[tables[f"right_{index}"]]
    return level[tables["cell_index"]]


@pytest.mark.parametrize("cameras", [1, 4, 6])
def test_tree_equals_scatter(cameras):
    rig, affines = ring_rig(cameras, IMAGE_SIZE[1], IMAGE_SIZE[0]), [np.eye(3)] * cameras
    rng = np.random.default_rng(cameras)
    pixels = (IMAGE_SIZE[0] // 8) * (IMAGE_SIZE[1] // 8)
    probability, context = rng.random(cameras * 30 * pixels), rng.normal(size=(cameras * pixels, 3))
    cell = splat_cells(GRID, IMAGE_SIZE, VIEW, rig, affines)
    expected = np.zeros((GRID.shape[0] * GRID.shape[1], 3))
    camera, _, pixel = np.unravel_index(np.arange(len(cell)), (cameras, 30, pixels))
    used = cell >= 0
    np.add.at(expected, cell[used], (context[camera * pixels + pixel] * probability[:, None])[used])
    assert used.mean() > 0.2
    np.testing.assert_allclose(
        tree_sum(splat_tables(GRID, IMAGE_SIZE, VIEW, rig, affines), probability, context), expected, atol=1e-9
    )


def test_shapes_do_not_depend_on_the_calibration():
    rig = ring_rig(6, IMAGE_SIZE[1], IMAGE_SIZE[0])
    lifted = [
        replace(camera, ego_from_camera=np.diag([1.0, 1.0, 1.0, 1.0]) @ camera.ego_from_camera + np.eye(4) * 0.0)
        for camera in rig
    ]
    for camera in lifted:
        camera.ego_from_camera[2, 3] += 50.0  # every point leaves z_range
    first, second = (splat_tables(GRID, IMAGE_SIZE, VIEW, cameras, [np.eye(3)] * 6) for cameras in (rig, lifted))
    assert {name: array.shape for name, array in first.items()} == {name: array.shape for name, array in second.items()}
    assert not tree_sum(second, np.ones(6 * 30 * 176), np.ones((6 * 176, 1))).any()


def test_too_many_points_in_one_cell_is_one_sentence():
    narrow = BevGrid(-100.0, 100.0, -100.0, 100.0, 100.0)
    with pytest.raises(CalibrationError, match="fall into one 100.0 m cell"):
        splat_tables(narrow, IMAGE_SIZE, VIEW, ring_rig(6, IMAGE_SIZE[1], IMAGE_SIZE[0]), [np.eye(3)] * 6)


def test_bins_follow_the_focal_length():
    """With a reference focal length, a camera of half that focal length has its bins at half the range."""
    reference = ring_rig(1, IMAGE_SIZE[1], IMAGE_SIZE[0])[0]
    focal = float(reference.intrinsics[0, 0])
    wide = replace(reference, intrinsics=np.diag([0.5, 0.5, 1.0]) @ reference.intrinsics + np.diag([0.0, 0.0, 0.0]))
    wide.intrinsics[:2, 2] = reference.intrinsics[:2, 2]
    flat = replace(VIEW, depth=DepthBins(1.0, 1.0, 30, focal), z_range=(-100.0, 100.0))
    far, near = (
        splat_cells(BevGrid(-64.0, 64.0, -64.0, 64.0, 0.25), IMAGE_SIZE, flat, [camera], [np.eye(3)]).reshape(
            30, 8, 22
        )[:, 4, 11]
        for camera in (reference, wide)
    )
    x_far, x_near = (cells % 512 * 0.25 - 64.0 for cells in (far, near))
    np.testing.assert_allclose(x_near, x_far / 2.0, atol=0.5)
