"""The tables are what the plainest construction gives: every point looked at by every camera, row by row."""

from dataclasses import replace

import numpy as np
import pytest

from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply, invert, make_transform
from kd_perception.student.preprocess import fit_views
from kd_perception.student.spec import DepthBins, ViewSpec
from kd_perception.student.view_tables.depth import bin_of_range, middle_ranges
from kd_perception.student.view_tables.pull import pull_tables
from kd_perception.student.view_tables.reference_points import reference_points
from kd_perception.student.view_tables.splat import in_cell_order, splat_cells

GRID, HEIGHTS = BevGrid.square(51.2, 1.6), (0.25, 0.75, 1.5, 2.5)
VIEW = ViewSpec("pull", 8, DepthBins(1.0, 1.0, 60, focal=210.0), HEIGHTS, (-2.0, 4.0))
LENSES = {
    "none": (),
    "plumb_bob": (-0.25, 0.06, 0.004, -0.003, 0.0),
    "rational_polynomial": (7.3, 3.6, 1e-4, -2e-4, 0.18, 7.7, 6.0, 1.1),
    "equidistant": (0.03, -0.002, 0.0, 0.0),
}
Pair = tuple[list[Camera], list[np.ndarray]]


def rig_of(model: str, *, views: int = 1, size: tuple[int, int] = (128, 352)) -> Pair:
    """Five tilted cameras, one of which sees the robot itself, and maps that scale, turn and mirror their images."""
    rng = np.random.default_rng(len(model))
    rig, affines = [], []
    for index, camera in enumerate(ring_rig(5, 704, 528)):
        pose = make_transform(np.eye(3), rng.uniform(-0.5, 0.5, 3)) @ camera.ego_from_camera
        pose = pose @ make_transform(np.array([1.0, *rng.uniform(-0.1, 0.1, 3)]), np.zeros(3))
        camera = replace(camera, ego_from_camera=pose, distortion_model=model, distortion=LENSES[model])
        if model == "equidistant":
            camera = replace(camera, intrinsics=np.array([[185.0, 0.0, 352.0], [0.0, 185.0, 264.0], [0.0, 0.0, 1.0]]))
        if index == 2:
            camera = replace(camera, ignored=np.arange(528 * 704).reshape(528, 704) > 400 * 704)
        for affine in fit_views(camera, size, views):
            scale, turn, mirror = rng.uniform(0.8, 1.3), rng.uniform(-0.3, 0.3), rng.choice([-1.0, 1.0])
            changed = np.diag([mirror, 1.0, 1.0])
            changed[:2, :2] = scale * changed[:2, :2] @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
            middle = np.array([size[1] / 2.0, size[0] / 2.0])
            changed[:2, 2] = middle - changed[:2, :2] @ middle
            rig.append(camera)
            affines.append(changed @ affine)
    return rig, affines


RIGS = {**{model: rig_of(model) for model in LENSES}, "3 views of a fisheye": rig_of("equidistant", views=3)}
every_rig = pytest.mark.parametrize("name", RIGS)


def plain_points() -> np.ndarray:
    return np.concatenate([np.insert(GRID.centers().reshape(-1, 2), 2, height, axis=1) for height in HEIGHTS])


def plain_sources(rig: list[Camera], affines: list[np.ndarray], size: tuple[int, int], *, bins: bool) -> list[tuple]:
    """Of each point the (margin, camera, u, v, bin) of at most two cameras, the best first; earlier ones win ties."""
    points, found = plain_points(), [[] for _ in range(len(plain_points()))]
    for index, (camera, affine) in enumerate(zip(rig, affines, strict=True)):
        local = apply(invert(camera.ego_from_camera), points)
        image, visible = camera.lens.image(local)
        pixels = image @ camera.intrinsics[:2, :2].T + camera.intrinsics[:2, 2]
        visible = visible & camera.shows(pixels)
        uv = pixels @ affine[:2, :2].T + affine[:2, 2]
        visible &= (uv >= 0).all(axis=1) & (uv < [size[1], size[0]]).all(axis=1)
        depth = bin_of_range(VIEW.depth, np.linalg.norm(local, axis=1), camera, affine)
        if bins:
            visible &= (depth >= 0) & (depth < VIEW.depth.count)
        for at in np.flatnonzero(visible):
            margin = min(uv[at, 0], size[1] - uv[at, 0]) + 1e-3
            found[at].append((margin, index, uv[at, 0], uv[at, 1], depth[at]))
    return [sorted(seen, key=lambda entry: -entry[0])[:2] for seen in found]


@every_rig
@pytest.mark.parametrize(("stride", "size"), [(8, (128, 352)), (12, (144, 360))])
def test_pull(name, stride, size):
    rig, affines = RIGS[name]
    rows, columns = size[0] // stride, size[1] // stride
    pixel, depth, weight = (np.zeros((2, 4 * 64 * 64), kind) for kind in (np.int32, np.int32, np.float32))
    for at, seen in enumerate(plain_sources(rig, affines, size, bins=True)):
        for source, (_, camera, u, v, bin_) in enumerate(seen):
            place = int(v // stride) * columns + int(u // stride)
            pixel[source, at] = camera * rows * columns + place
            depth[source, at] = (camera * VIEW.depth.count + bin_) * rows * columns + place
            weight[source, at] = 1.0 / len(seen)
    tables = pull_tables(GRID, size, replace(VIEW, stride=stride), rig, affines)
    assert 0.2 < (weight[0] > 0).mean() and (weight[1] > 0).any()
    for table, expected in {"pixel_index": pixel, "depth_index": depth, "weight": weight}.items():
        np.testing.assert_array_equal(tables[table], expected, strict=True)


@every_rig
def test_attention(name):
    rig, affines = RIGS[name]
    size = (128, 352)
    places, seen_by = np.zeros((2, 4 * 64 * 64, 2), np.float32), np.full((2, 4 * 64 * 64), -1)
    for at, seen in enumerate(plain_sources(rig, affines, size, bins=False)):
        for source, (_, camera, u, v, _) in enumerate(seen):
            places[source, at], seen_by[source, at] = (u / size[1], v / size[0]), camera
    tables = reference_points(GRID, size, VIEW, rig, affines)
    by_height = {name: np.swapaxes(table, 1, 2).reshape(2, 4 * 64 * 64, -1) for name, table in tables.items()}
    np.testing.assert_array_equal(by_height["reference_seen"][..., 0], seen_by >= 0)
    np.testing.assert_array_equal(by_height["reference_camera"][..., 0], np.maximum(seen_by, 0))
    np.testing.assert_allclose(by_height["reference_points"], places, rtol=0.0, atol=1e-7)


@every_rig
def test_splat(name):
    rig, affines = RIGS[name]
    v, u = np.meshgrid(np.arange(16) * 8 + 4.0, np.arange(44) * 8 + 4.0, indexing="ij")
    expected = []
    for camera, affine in zip(rig, affines, strict=True):
        pixels = (np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)]) @ np.linalg.inv(affine).T)[:, :2]
        rays, shown = camera.unproject(pixels), camera.shows(pixels)
        for reach in middle_ranges(VIEW.depth, camera, affine):
            points = apply(camera.ego_from_camera, reach * rays)
            valid = shown & np.isfinite(points).all(axis=1) & (points[:, 2] >= -2.0) & (points[:, 2] < 4.0)
            valid &= GRID.holds(np.where(valid[:, None], points, 0.0)[:, :2])
            column, row = np.floor(GRID.to_cells(np.where(valid[:, None], points, 0.0)[:, :2])).astype(np.int64).T
            expected.append(np.where(valid, row * 64 + column, -1))
    cells = splat_cells(GRID, (128, 352), VIEW, rig, affines)
    np.testing.assert_array_equal(cells, np.concatenate(expected), strict=True)
    assert (cells >= 0).mean() > 0.1


@pytest.mark.parametrize("cells", [1, 300, 100_000])
def test_points_are_ordered_by_cell_and_within_a_cell_as_they_came(cells):
    """Beyond 16 bits, too."""
    cell = np.random.default_rng(0).integers(-1, cells, 5000)
    order = in_cell_order(cell)
    assert order.tolist() == sorted(np.flatnonzero(cell >= 0).tolist(), key=lambda point: (cell[point], point))
    assert not len(in_cell_order(np.full(3, -1)))
