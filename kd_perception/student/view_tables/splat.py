"""Tables of the `splat` view transform: every (feature pixel, range bin) is a point that adds its feature to the cell
it falls in.

Lift-splat (arXiv:2008.05711), as in BEVDet (arXiv:2112.11790). A sum over an arbitrary set of points needs a scatter
with addition, which TensorRT refuses; the file sums exactly all the same, by a tree: points stand in cell order, and
each level adds neighbours of the same cell until every cell has one row. Every step is a Gather and an Add, and all
shapes depend on the camera count only.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply_to_columns
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.depth import middle_ranges, pixels_of

LEVELS = 10  # of the tree: at most 2^10 points in one cell


def splat_tables(
    grid: BevGrid,
    image_size: tuple[int, int],
    view: ViewSpec,
    cameras: Sequence[Camera],
    network_from_image: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """int32 arrays of the tree; M = cameras * bins * feature rows * feature columns, the number of points.

    pixel_index, depth_index (M + 1,): the points in cell order, into (cameras, feature rows, feature columns) and
    (cameras, bins, feature rows, feature columns) flattened; points of no cell and the last entry read depth_index M,
    a zero. left_1, right_1 ... left_10, right_10 (`level_rows` + 1,): row = level below [left] + level below [right].
    cell_index (rows * columns,): the row of level 10 that is a cell's sum. The last row of every level is zero.
    """
    cell = splat_cells(grid, image_size, view, cameras, network_from_image)
    order = in_cell_order(cell)
    points = len(cell)
    pixels = (image_size[0] // view.stride) * (image_size[1] // view.stride)
    depth_index = np.full(points + 1, points, dtype=np.int32)
    depth_index[: len(order)] = order
    pixel_index = np.zeros(points + 1, dtype=np.int32)
    pixel_index[: len(order)] = pixels_of(order, view.depth.count, pixels)
    tables = {"pixel_index": pixel_index, "depth_index": depth_index}

    row_cell, zero_row = cell[order], points  # the cell of each used row of the level below, and that level's zero row
    for level in range(1, LEVELS + 1):
        left, right, row_cell = _pair_rows(row_cell, zero_row)
        rows_below, zero_row = zero_row, level_rows(level, points, grid)
        for name, index in (("left", left), ("right", right)):
            tables[f"{name}_{level}"] = np.full(zero_row + 1, rows_below, dtype=np.int32)
            tables[f"{name}_{level}"][: len(index)] = index
    if len(np.unique(row_cell)) != len(row_cell):
        most = int(np.bincount(cell[order]).max())
        raise CalibrationError(
            f"{most} image points fall into one {grid.cell_size} m cell, above the {2**LEVELS} that `splat` sums; "
            "check the cameras' poses"
        )
    cell_index = np.full(grid.shape[0] * grid.shape[1], zero_row, dtype=np.int32)
    cell_index[row_cell] = np.arange(len(row_cell))
    tables["cell_index"] = cell_index
    return tables


def level_rows(level: int, points: int, grid: BevGrid) -> int:
    """Upper bound of the rows that level `level` of the tree needs, whatever the calibration, without its zero row.

    A cell with n points has ceil(n / 2^level) rows; their sum is at most points / 2^level plus one row per cell.
    """
    cells = grid.shape[0] * grid.shape[1]
    return min(points, points // 2**level + cells)


def in_cell_order(cell: np.ndarray) -> np.ndarray:
    """Indices of the points whose cell is not -1, by cell; points of one cell keep their order."""
    points = np.flatnonzero(cell >= 0)
    cells = cell[points]
    fewest_bits = np.min_scalar_type(cells.max(initial=0))  # NumPy sorts 16 bits in linear time
    return points[np.argsort(cells.astype(fewest_bits), kind="stable")]


def splat_cells(
    grid: BevGrid,
    image_size: tuple[int, int],
    view: ViewSpec,
    cameras: Sequence[Camera],
    network_from_image: Sequence[np.ndarray],
) -> np.ndarray:
    """Cell index (row * columns + column) of every point (cameras * bins * feature rows * feature columns,), or -1.

    -1 is outside the grid. A point stands at its feature pixel's centre and its bin's middle range.
    """
    rows, columns = image_size[0] // view.stride, image_size[1] // view.stride
    u, v = np.meshgrid((np.arange(columns) + 0.5) * view.stride, (np.arange(rows) + 0.5) * view.stride)
    pixels = np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)])
    return np.concatenate([
        _camera_cells(grid, view, camera, pixels @ np.linalg.inv(affine).T, middle_ranges(view.depth, camera, affine))
        for camera, affine in zip(cameras, network_from_image, strict=True)
    ])  # fmt: skip


def _camera_cells(grid: BevGrid, view: ViewSpec, camera: Camera, pixels: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Cells (bins * pixels,) of one camera's points; `pixels` (P, 3) homogeneous in the camera's image."""
    inside = camera.shows(pixels[:, :2])
    rays = camera.unproject(pixels[:, :2]).T[:, None, :] * ranges[:, None]  # one row a coordinate
    x, y, z = apply_to_columns(camera.ego_from_camera, rays.reshape(3, -1))
    column, row = np.floor((x - grid.x_min) / grid.cell_size), np.floor((y - grid.y_min) / grid.cell_size)
    valid = np.tile(inside, len(ranges)) & (z >= view.z_range[0]) & (z < view.z_range[1])  # rays of NaN are nowhere
    valid &= (column >= 0) & (column < grid.shape[1]) & (row >= 0) & (row < grid.shape[0])
    return np.where(valid, row * grid.shape[1] + column, -1.0).astype(np.int64)


def _pair_rows(row_cell: np.ndarray, zero_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in cell order -> left and right row of each pair within a cell, and the pair's cell.

    An odd last row pairs with zero.
    """
    starts = np.flatnonzero(np.diff(row_cell, prepend=-1))
    first = np.repeat(starts, np.diff(starts, append=len(row_cell)))
    left = np.flatnonzero((np.arange(len(row_cell)) - first) % 2 == 0)
    partner = np.minimum(left + 1, len(row_cell) - 1)
    paired = (left + 1 < len(row_cell)) & (row_cell[partner] == row_cell[left])
    return left, np.where(paired, left + 1, zero_row), row_cell[left]
