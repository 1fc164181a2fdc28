"""Where imitation counts: boxes, false positives of the teacher, the rest (DistillBEV, arXiv:2309.15109)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import FeatureConfig
from kd_training.data.covered_cells import covered_cells


class BoxFootprints(NamedTuple):
    """Cells of boxes, (B, rows, columns) each.

    `inside` is bool. `scale` is float32, 1 / sqrt(length x width of the box in cells): at most 1, 0 outside, and the
    largest where boxes overlap.
    """

    inside: Tensor
    scale: Tensor


def box_footprints(
    boxes: Sequence[Boxes], grid: BevGrid, shape: tuple[int, int], device: torch.device
) -> BoxFootprints:
    """BoxFootprints of each rig's boxes on a raster of `shape` (rows, columns) over the grid's extent."""
    length, width = _sizes_in_cells(Boxes.concatenate(boxes), grid, shape)
    value = 1.0 / np.sqrt(np.maximum(length * width, 1.0))
    scale = torch.from_numpy(painted(value, boxes, grid, shape)).to(device)
    return BoxFootprints(scale > 0.0, scale)


def painted(values: np.ndarray, boxes: Sequence[Boxes], grid: BevGrid, shape: tuple[int, int]) -> np.ndarray:
    """Values (K,) above 0 of all rigs' boxes in the cells that they cover, (B, *shape) float32: the largest where boxes
    overlap, 0 outside."""
    raster = np.zeros((len(boxes), *shape), np.float32)
    rig = np.repeat(np.arange(len(boxes)), [len(entry) for entry in boxes])
    covered = covered_cells(Boxes.concatenate(boxes), grid, shape)
    np.maximum.at(raster, (rig[covered.box], covered.row, covered.column), values[covered.box])
    return raster


def false_positives(teacher: Tensor, truth: Tensor, inside: Tensor, threshold: float) -> Tensor:
    """Cells (B, rows, columns) bool where the teacher's heatmap exceeds the threshold, the true one does not.

    Both heatmaps are probabilities (B, 10, rows, columns), of which the largest class counts. Cells `inside` a box
    never count.
    """
    return (teacher.amax(dim=1) > threshold) & (truth.amax(dim=1) < threshold) & ~inside


def region_weights(footprints: BoxFootprints, wrong: Tensor | None, config: FeatureConfig) -> Tensor:
    """The factor M S of every cell (B, rows, columns), with alpha, beta and eta in it.

    `wrong` marks the false positives; None: they count as background. A rig without boxes or without false positives
    lacks that part only.
    """
    inside = footprints.inside
    outside = ~inside if wrong is None else ~inside & ~wrong
    weights = config.foreground * (footprints.scale if config.scale else inside.float())
    weights = weights + config.background * _shared_out(outside, scaled=config.scale)
    if wrong is not None:
        weights = weights + config.foreground * config.false_positive * _shared_out(wrong, scaled=config.scale)
    return weights


def _shared_out(mask: Tensor, *, scaled: bool) -> Tensor:
    """1 in the mask, or if `scaled` 1 / its number of cells in that rig; 0 elsewhere."""
    values = mask.float()
    return values / values.sum(dim=(1, 2), keepdim=True).clamp(min=1.0) if scaled else values


def _sizes_in_cells(boxes: Boxes, grid: BevGrid, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Length and width of boxes in cells of the raster (of square cells, or of squares of the same area)."""
    area = (grid.x_max - grid.x_min) * (grid.y_max - grid.y_min) / (shape[0] * shape[1])
    return boxes.size[:, 0] / np.sqrt(area), boxes.size[:, 1] / np.sqrt(area)
