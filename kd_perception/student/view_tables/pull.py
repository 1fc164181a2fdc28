"""Tables of the `pull` view transform: every (height, cell) names the feature pixels and depth bins it gathers.

A cell's centre at each height is projected, lens included, into every camera; the (at most) two cameras that see it
furthest from their image border contribute feature x probability of the depth bin in which the point's range falls.
Backward projection as in Fast-BEV (arXiv:2301.12511) and Simple-BEV (arXiv:2206.07959), weighted by predicted depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.depth import bin_of_range

SOURCES = 2  # cameras per voxel: neighbouring cameras of common rigs overlap in pairs


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
    voxels = voxel_centers(grid, view)
    rows, columns = image_size[0] // view.stride, image_size[1] // view.stride
    best = _BestSources(
        np.zeros((SOURCES, len(voxels))), *(np.zeros((SOURCES, len(voxels)), np.int32) for _ in range(2))
    )
    for i, (camera, affine) in enumerate(zip(cameras, network_from_image, strict=True)):
        voxel = np.arange(len(voxels))
        if camera.lens.max_angle <= np.pi / 2.0:  # half of them are behind the camera: not worth projecting
            forward, position = camera.ego_from_camera[:3, 2], camera.ego_from_camera[:3, 3]
            voxel = np.flatnonzero(voxels @ forward > forward @ position)
        uv, distance, seen = camera.project(voxels[voxel])
        voxel, uv, distance = voxel[seen], uv[seen] @ affine[:2, :2].T + affine[:2, 2], distance[seen]
        bins = bin_of_range(view.depth, distance, camera, affine)
        kept = (uv[:, 0] >= 0) & (uv[:, 1] >= 0) & (uv[:, 0] < image_size[1]) & (uv[:, 1] < image_size[0])
        kept &= (bins >= 0) & (bins < view.depth.count)
        voxel, uv, bins = voxel[kept], uv[kept], bins[kept]
        column, row = (uv // view.stride).astype(np.int64).T
        border = np.minimum(
            uv[:, 0], image_size[1] - uv[:, 0]
        )  # rigs overlap sideways: the camera that looks straighter wins
        pixel = (i * rows + row) * columns + column
        best.offer(voxel, border + 1e-3, pixel, ((i * view.depth.count + bins) * rows + row) * columns + column)
    used = best.margin > 0
    weight = used / np.maximum(used.sum(axis=0), 1)
    return {"pixel_index": best.pixel, "depth_index": best.depth, "weight": weight.astype(np.float32)}


@dataclass(frozen=True)
class _BestSources:
    """Per voxel the cameras with the largest margin so far, best first: arrays (SOURCES, voxels), margin 0 where there
    is none.
    """

    margin: np.ndarray
    pixel: np.ndarray
    depth: np.ndarray

    def offer(self, voxel: np.ndarray, margin: np.ndarray, pixel: np.ndarray, depth: np.ndarray) -> None:
        """Enter one camera's view of the voxels `voxel` (K,) where it beats what is there; earlier cameras win ties."""
        first = margin > self.margin[0, voxel]
        second = ~first & (margin > self.margin[1, voxel])
        for table, value in ((self.margin, margin), (self.pixel, pixel), (self.depth, depth)):
            table[1, voxel[second]] = value[second]
            table[1, voxel[first]] = table[0, voxel[first]]
            table[0, voxel[first]] = value[first]


def voxel_centers(grid: BevGrid, view: ViewSpec) -> np.ndarray:
    """Ego points (heights * rows * columns, 3) that `pull` samples, heights slowest."""
    xy = grid.centers().reshape(-1, 2)
    heights = np.repeat(np.asarray(view.heights), len(xy))
    return np.column_stack([np.tile(xy, (len(view.heights), 1)), heights])
