"""Tables of the `pull` view transform: every (height, cell) names the feature pixels and depth bins it gathers.

A cell's centre at each height is projected, lens included, into every camera; the (at most) two cameras that see it furthest
from their image border contribute feature x probability of the depth bin in which the point's range falls. Backward
projection as in Fast-BEV (arXiv:2301.12511) and Simple-BEV (arXiv:2206.07959), weighted by predicted depth.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.grid import BevGrid
from kd_perception.rig import Camera
from kd_perception.student import ViewSpec

SOURCES = 2  # cameras per voxel: neighbouring cameras of common rigs overlap in pairs


def pull_tables(
    grid: BevGrid, image_size: tuple[int, int], view: ViewSpec, cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Arrays of shape (2, heights * rows * columns), heights slowest.

    pixel_index int32 into (cameras, feature rows, feature columns) flattened; depth_index int32 into (cameras, bins, feature
    rows, feature columns) flattened; weight float32, 1 / number of cameras that see the voxel, 0 where unused.
    """
    voxels = voxel_centers(grid, view)
    rows, columns = image_size[0] // view.stride, image_size[1] // view.stride
    pixel, depth, margin = (np.zeros((len(cameras), len(voxels)), dtype) for dtype in (np.int64, np.int64, np.float64))
    for i, (camera, affine) in enumerate(zip(cameras, network_from_image, strict=True)):
        uv, distance, seen = camera.project(voxels)
        uv = uv @ affine[:2, :2].T + affine[:2, 2]
        bins = np.floor((distance - view.depth.start) / view.depth.step)
        seen = seen & (uv >= 0).all(axis=1) & (uv[:, 0] < image_size[1]) & (uv[:, 1] < image_size[0])
        seen &= (bins >= 0) & (bins < view.depth.count)
        column, row = (np.where(seen, uv[:, axis] // view.stride, 0).astype(np.int64) for axis in (0, 1))
        bins = np.where(seen, bins, 0).astype(np.int64)
        pixel[i] = (i * rows + row) * columns + column
        depth[i] = ((i * view.depth.count + bins) * rows + row) * columns + column
        border = np.minimum(uv[:, 0], image_size[1] - uv[:, 0])  # rigs overlap sideways: the camera that looks straighter wins
        margin[i] = np.where(seen, border + 1e-3, 0.0)
    return _select_sources(pixel, depth, margin)


def voxel_centers(grid: BevGrid, view: ViewSpec) -> np.ndarray:
    """Ego points (heights * rows * columns, 3) that `pull` samples, heights slowest."""
    xy = grid.centers().reshape(-1, 2)
    heights = np.repeat(np.asarray(view.heights), len(xy))
    return np.column_stack([np.tile(xy, (len(view.heights), 1)), heights])


def _select_sources(pixel: np.ndarray, depth: np.ndarray, margin: np.ndarray) -> dict[str, np.ndarray]:
    """Keep the `SOURCES` cameras with the largest margin per voxel; (cameras, voxels) -> (SOURCES, voxels)."""
    missing = SOURCES - len(margin)
    if missing > 0:
        pixel, depth, margin = (np.concatenate([a, np.zeros((missing, a.shape[1]), a.dtype)]) for a in (pixel, depth, margin))
    best = np.argsort(-margin, axis=0, kind="stable")[:SOURCES]
    used = np.take_along_axis(margin, best, axis=0) > 0
    weight = used / np.maximum(used.sum(axis=0), 1)
    return {
        "pixel_index": np.where(used, np.take_along_axis(pixel, best, axis=0), 0).astype(np.int32),
        "depth_index": np.where(used, np.take_along_axis(depth, best, axis=0), 0).astype(np.int32),
        "weight": weight.astype(np.float32),
    }
