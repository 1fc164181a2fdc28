"""Where nobody knows what is there: cells that the heatmap's losses leave out, in place of calling them background."""

from dataclasses import dataclass, field

import numpy as np

from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import apply

QUARTERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]) / 4.0  # of a cell's side, from its centre


@dataclass(frozen=True)
class DoubtfulCells:
    """Of one keyframe: N square cells of `side` metres by their centres xy (N, 2) in ego, and the class (N,) that is in
    doubt there; classes (M,) that are in doubt everywhere."""

    xy: np.ndarray
    label: np.ndarray
    side: float
    everywhere: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def within(self, labels: np.ndarray) -> "DoubtfulCells":
        """The doubt about these classes (M,) alone."""
        ours = np.isin(self.label, labels)
        everywhere = self.everywhere[np.isin(self.everywhere, labels)]
        return DoubtfulCells(self.xy[ours], self.label[ours], self.side, everywhere)

    def mask(self, target_from_ego: np.ndarray, grid: BevGrid, classes: int) -> np.ndarray:
        """Bool (classes, rows, columns) on a grid that an augmentation (4, 4) has turned, scaled or mirrored.

        Every quarter of a doubtful cell marks the cell that its middle falls into, so that turned ones leave no holes.
        """
        mask = np.zeros((classes, *grid.shape), dtype=bool)
        mask[self.everywhere] = True
        quarters = (self.xy[:, None] + self.side * QUARTERS).reshape(-1, 2)
        label = np.repeat(self.label, len(QUARTERS))
        moved = apply(target_from_ego, np.column_stack([quarters, np.zeros(len(quarters))]))[:, :2]
        inside = grid.holds(moved)
        column, row = np.floor(grid.to_cells(moved[inside])).astype(np.int64).T
        mask[label[inside], row, column] = True
        return mask
