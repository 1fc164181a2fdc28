"""Boxes as a label encoder takes them (LabelDistill, arXiv:2407.10164)."""

from collections.abc import Sequence

import numpy as np
import torch

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.painted_boxes import PaintedBoxes
from kd_training.data.covered_cells import covered_cells

HEIGHT_SCALE, SPEED_SCALE = 3.0, 10.0  # metres, metres per second: inputs of about 1


def paint_boxes(boxes: Sequence[Boxes], grid: BevGrid) -> PaintedBoxes:
    """The boxes of each rig, in ego, on the cells that they cover; those with their centre outside the grid are left
    out. An unknown velocity counts as none."""
    rig = np.repeat(np.arange(len(boxes)), [len(entry) for entry in boxes])
    together = Boxes.concatenate(boxes)
    inside = grid.holds(together.center[:, :2])
    rig, together = rig[inside], together[inside]
    rows, columns = grid.shape
    covered = covered_cells(together, grid, grid.shape)
    here = together[covered.box]
    offset = grid.to_cells(here.center[:, :2]) - np.column_stack([covered.column, covered.row]) - 0.5
    geometry = [
        offset, here.center[:, 2:] / HEIGHT_SCALE, np.log(here.size),
        np.sin(here.yaw)[:, None], np.cos(here.yaw)[:, None], np.nan_to_num(here.velocity) / SPEED_SCALE,
    ]  # fmt: skip
    place = (rig[covered.box] * rows + covered.row) * columns + covered.column
    return PaintedBoxes(
        torch.from_numpy(place), torch.from_numpy(np.hstack(geometry).astype(np.float32)), torch.from_numpy(here.label)
    )
