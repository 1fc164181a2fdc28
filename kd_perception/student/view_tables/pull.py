"""Tables of the `pull` view transform: every (height, cell) names the feature pixels and depth bins it gathers.

A cell's centre at each height is projected, lens included, into every camera; the (at most) two cameras that see it
furthest from their image border contribute feature x probability of the depth bin in which the point's range falls.
Backward projection as in Fast-BEV (arXiv:2301.12511) and Simple-BEV (arXiv:2206.07959), weighted by predicted depth.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.depth import bin_of_range, pixels_of
from kd_perception.student.view_tables.sources import BestSources, grid_voxels, seen_points


def pull_tables(
    grid: BevGrid,
    image_size: tuple[int, int],
    view: ViewSpec,
    cameras: Sequence[Camera],
    network_from_image: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """Arrays of shape (2, heights * rows * columns), heights slowest.

    pixel_index int32 into (cameras, feature rows, feature columns) flattened; depth_index int32 into (cameras, bins,
    feature rows, feature columns) flattened; weight float32, 1 / number of cameras that see the voxel, 0 where unused.
    """
    voxels = grid_voxels(grid, view.heights)
    rows, columns = image_size[0] // view.stride, image_size[1] // view.stride
    best = BestSources.of(voxels.points.shape[1], np.zeros(0, np.int32))
    for i, (camera, affine) in enumerate(zip(cameras, network_from_image, strict=True)):
        seen = seen_points(voxels, camera, affine, image_size)
        bins = bin_of_range(view.depth, seen.ranges, camera, affine)
        within = np.flatnonzero((bins >= 0) & (bins < view.depth.count))
        seen, bins = seen[within], bins[within]
        column, row = seen.pixels.T.astype(np.int64) // view.stride
        best.offer(
            seen.index, seen.margin(image_size[1]), ((i * view.depth.count + bins) * rows + row) * columns + column
        )
    (depth_index,) = best.values
    pixel_index = pixels_of(depth_index, view.depth.count, rows * columns)
    weight = best.used / np.maximum(best.used.sum(axis=0, dtype=np.float32), 1.0)
    return {"pixel_index": pixel_index, "depth_index": depth_index, "weight": weight}
