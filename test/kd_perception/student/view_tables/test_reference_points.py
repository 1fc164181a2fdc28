"""Reference points: where a pillar shows, for rigs of any number of cameras and any lens, and what is masked."""

from dataclasses import replace

import numpy as np
import pytest

from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.student.preprocess import fit_image
from kd_perception.student.spec import DepthBins, ViewSpec
from kd_perception.student.view_tables.reference_points import reference_points
from kd_perception.student.view_tables.sources import grid_voxels

GRID, SIZE = BevGrid.square(16.0, 2.0), (128, 352)
VIEW = ViewSpec("attention", 8, DepthBins(1.0, 1.0, 1), (0.25, 1.5), (0.0, 0.0))
AFFINE = fit_image((256, 704), SIZE)


def fisheyes(count: int) -> list[Camera]:
    """A ring of cameras that see 190 degrees."""
    lens = {"distortion_model": "equidistant", "distortion": (0.03, -0.002, 0.0, 0.0)}
    center = np.array([[185.0, 0.0, 352.0], [0.0, 185.0, 128.0], [0.0, 0.0, 1.0]])
    return [replace(camera, intrinsics=center, **lens) for camera in ring_rig(count, 704, 256)]


RIGS = {**{f"{count}": ring_rig(count, 704, 256) for count in (1, 4, 6, 8)}, "4 fisheyes": fisheyes(4)}


def tables(rig: list[Camera]) -> dict[str, np.ndarray]:
    return reference_points(GRID, SIZE, VIEW, rig, [AFFINE] * len(rig))


@pytest.mark.parametrize("name", RIGS)
def test_a_point_stands_where_its_camera_shows_it_and_is_masked_where_none_does(name):
    rig, found = RIGS[name], tables(RIGS[name])
    cells, heights = GRID.shape[0] * GRID.shape[1], len(VIEW.heights)
    points = grid_voxels(GRID, VIEW.heights).points.T.reshape(heights, cells, 3)
    assert found["reference_points"].shape == (2, cells, heights, 2)
    assert found["reference_camera"].shape == found["reference_seen"].shape == (2, cells, heights)
    for cell in range(0, cells, 5):
        for height in range(heights):
            places = {}
            for index, camera in enumerate(rig):
                pixels, _, seen = camera.project(points[height, cell][None])
                place = (pixels[0] @ AFFINE[:2, :2].T + AFFINE[:2, 2]) / [SIZE[1], SIZE[0]]
                if seen[0] and (place >= 0).all() and (place < 1).all():
                    places[index] = place
            used = found["reference_seen"][:, cell, height] > 0
            chosen = found["reference_camera"][used, cell, height]
            assert used.sum() == min(2, len(places)) and len(set(chosen)) == len(chosen)
            for source, camera in zip(np.flatnonzero(used), chosen, strict=True):
                got = found["reference_points"][source, cell, height]
                np.testing.assert_allclose(got, places[camera], atol=1e-6)


def test_the_first_source_is_the_camera_that_sees_it_straighter():
    found = tables(ring_rig(8, 704, 256))
    both = found["reference_seen"].min(axis=0) > 0
    margin = 0.5 - np.abs(found["reference_points"][..., 0] - 0.5)
    assert both.any() and (margin[0][both] >= margin[1][both]).all()


def test_a_rig_that_is_turned_turns_what_cells_see():
    """By a quarter turn of the rig each cell sees what the cell a quarter turn back saw."""
    rig = ring_rig(6, 704, 256)
    turn = make_transform(quaternion_from_yaw(np.pi / 2.0), np.zeros(3))
    before = tables(rig)
    after = tables([replace(camera, ego_from_camera=turn @ camera.ego_from_camera) for camera in rig])
    for name in ("reference_points", "reference_seen"):
        maps = [table[name].reshape(2, *GRID.shape, *table[name].shape[2:]) for table in (before, after)]
        turned = np.rot90(maps[0], axes=(2, 1))  # y is the row and x the column, so that x turns into y
        seen = [after["reference_seen"].sum(), before["reference_seen"].sum()]
        assert seen[0] == pytest.approx(seen[1])
        single = np.rot90(before["reference_seen"].reshape(2, *GRID.shape, -1), axes=(2, 1))[1] == 0  # no ties
        np.testing.assert_allclose(maps[1][0][single], turned[0][single], atol=1e-5)
