"""The bird's-eye-view grid: a raster of square cells in `base_link` (nuScenes ego) at the anchor image's time stamp.

BEV arrays are (channels, rows, columns): a row is one y (left positive), a column one x (forward positive). Cell (row,
column) covers y_min + row * cell_size .. + cell_size and likewise x; its centre is half a cell further.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BevGrid:
    """A square-celled grid: extent in metres, `cell_size` in metres."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    cell_size: float

    def __post_init__(self) -> None:
        if not self.cell_size > 0.0:
            raise ValueError(f"BEV grid: cell size {self.cell_size} m is not above 0")
        for low, high, axis in ((self.x_min, self.x_max, "x"), (self.y_min, self.y_max, "y")):
            cells = (high - low) / self.cell_size
            if cells < 1 or abs(cells - round(cells)) > 1e-6:
                raise ValueError(
                    f"BEV grid: {axis} from {low} to {high} m is not a whole number of {self.cell_size} m cells"
                )

    @staticmethod
    def square(extent: float, cell_size: float) -> "BevGrid":
        """The grid that reaches `extent` metres to each side of base_link."""
        return BevGrid(-extent, extent, -extent, extent, cell_size)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows along y, columns along x)."""
        return round((self.y_max - self.y_min) / self.cell_size), round((self.x_max - self.x_min) / self.cell_size)

    def centers(self) -> np.ndarray:
        """Cell centres (rows, columns, 2): x, y in metres."""
        rows, columns = self.shape
        x = self.x_min + (np.arange(columns) + 0.5) * self.cell_size
        y = self.y_min + (np.arange(rows) + 0.5) * self.cell_size
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)

    def to_cells(self, xy: np.ndarray) -> np.ndarray:
        """Continuous (column, row) coordinates (..., 2) of metric x, y (..., 2); a cell's centre is at .5."""
        return (np.asarray(xy) - np.array([self.x_min, self.y_min])) / self.cell_size

    def to_metres(self, cells: np.ndarray) -> np.ndarray:
        """Inverse of `to_cells`: metric x, y (..., 2) of continuous (column, row) coordinates."""
        return np.asarray(cells) * self.cell_size + np.array([self.x_min, self.y_min])

    def holds(self, xy: np.ndarray) -> np.ndarray:
        """Which metric x, y (..., 2) lie on the grid (...) bool."""
        cells, (rows, columns) = np.floor(self.to_cells(xy)), self.shape
        return (cells >= 0).all(axis=-1) & (cells[..., 0] < columns) & (cells[..., 1] < rows)
