"""Tables of the `attention` view transform: where each BEV query's pillar of points shows in the cameras.

BEVFormer (arXiv:2203.17270) gives every cell a pillar of points; a query looks around where each of them is projected
to. Lens and mounting enter here, at run time; the network adds its learnt offsets.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.sources import SOURCES, BestSources, grid_voxels, seen_points


def reference_points(
    grid: BevGrid,
    image_size: tuple[int, int],
    view: ViewSpec,
    cameras: Sequence[Camera],
    network_from_image: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """Arrays of shape (2, rows * columns, heights) of the up to two cameras that see each point, the better one first.

    reference_points float32, of shape (..., 2): x, y as shares of the network image's width and height, 0 to 1;
    reference_camera int32: which camera; reference_seen float32: 1, or 0 where no camera sees the point.
    `grid` is that of the queries.
    """
    voxels = grid_voxels(grid, view.heights)
    best = BestSources.of(voxels.points.shape[1], np.zeros((0, 2), np.float32), np.zeros(0, np.int32))
    size = np.array([image_size[1], image_size[0]], np.float64)
    for i, (camera, affine) in enumerate(zip(cameras, network_from_image, strict=True)):
        seen = seen_points(voxels, camera, affine, image_size)
        best.offer(seen.index, seen.margin(image_size[1]), seen.pixels / size, np.full(len(seen.index), i))
    places, camera = best.values
    cells = grid.shape[0] * grid.shape[1]
    tables = {"reference_points": places, "reference_camera": camera, "reference_seen": best.used.astype(np.float32)}
    return {name: _by_query(table, cells) for name, table in tables.items()}


def _by_query(table: np.ndarray, cells: int) -> np.ndarray:
    """(SOURCES, heights * cells, ...) -> (SOURCES, cells, heights, ...)."""
    return np.ascontiguousarray(table.reshape(SOURCES, -1, cells, *table.shape[2:]).swapaxes(1, 2))
