"""Pillar encoder (PointPillars, arXiv:1812.05784): points -> a raster of features, in plain PyTorch.

It needs no voxelisation and has no limit of points per pillar: every point is lifted, and a scatter takes the maximum
over each pillar. The features of a point are those of `kd_perception.teacher.pillars`, which has them for one cloud in
NumPy, for the teacher's file: here they are computed where the batch is, of all its rigs.
"""

import torch
from torch import Tensor, nn

from kd_perception.geometry.grid import BevGrid
from kd_perception.teacher.pillars import AGE_SCALE, CROWD_SCALE, FEATURES, HEIGHT_SCALE, RANGE_SCALE
from kd_training.batches.point_batch import PointBatch
from kd_training.models.wide import wide_where


class PillarEncoder(nn.Module):
    """Encodes points on a raster; it also learns from the labels of virtual points, which are of `virtual` classes;
    0: there are none."""

    def __init__(self, raster: BevGrid, channels: int, *, virtual: int = 0) -> None:
        super().__init__()
        self.raster, self.channels, self.virtual = raster, channels, virtual > 0
        self.linear = nn.Linear(FEATURES, channels, bias=False)
        if virtual:
            self.label = nn.Embedding(1 + virtual, channels)  # 0 at first: it can start from an encoder without labels
            nn.init.zeros_(self.label.weight)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, batch: PointBatch, rigs: int) -> Tensor:
        """Points of `rigs` rigs -> (rigs, channels, rows, columns) over `raster`, 0 where no points are."""
        rows, columns = self.raster.shape
        pillar, features, label = self._features(batch, rigs)
        with wide_where(features.device):
            lifted = self.linear(features)
        if self.virtual:
            lifted = lifted + self.label(label).to(lifted.dtype)
        lifted = torch.relu(self.norm(lifted))
        raster = lifted.new_zeros(rigs * rows * columns, self.channels)
        # zeros take part in the maximum: after ReLU nothing lies below them
        raster = raster.scatter_reduce(0, pillar[:, None].expand_as(lifted), lifted, "amax", include_self=True)
        return raster.reshape(rigs, rows, columns, self.channels).permute(0, 3, 1, 2)  # channels_last in memory

    @torch.no_grad()
    def _features(self, batch: PointBatch, rigs: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pillar index (P,), inputs (P, FEATURES) and label (P,) of the points inside the raster.

        A label is 1 + class of a virtual point and 0 of any other; None without virtual points.
        """
        rows, columns = self.raster.shape
        cells = cells_of(batch.points, self.raster)
        corner = cells.floor()
        inside = (corner >= 0).all(1) & (corner[:, 0] < columns) & (corner[:, 1] < rows)
        points, cells, corner, rig = (part[inside] for part in (batch.points, cells, corner, batch.rig))
        pillar = (rig * rows + corner[:, 1].long()) * columns + corner[:, 0].long()
        centred = cells - corner - 0.5
        sums = points.new_zeros(rigs * rows * columns, 2)
        sums.index_add_(0, pillar, torch.stack([points[:, 2], torch.ones_like(points[:, 2])], dim=1))
        mean_z, count = sums[pillar].unbind(1)
        inputs = [
            points[:, :2] / RANGE_SCALE, points[:, 2:3] / HEIGHT_SCALE, points[:, 3:4],
            points[:, 4:5] / AGE_SCALE, centred,
            (points[:, 2] - mean_z / count)[:, None], (count.log() / CROWD_SCALE)[:, None],
        ]  # fmt: skip
        return pillar, torch.cat(inputs, dim=1), points[:, 5].long() if self.virtual else None


def cells_of(points: Tensor, raster: BevGrid) -> Tensor:
    """Continuous (column, row) coordinates (P, 2) of points (P, 2 or more), as BevGrid.to_cells."""
    return (points[:, :2] - points.new_tensor([raster.x_min, raster.y_min])) / raster.cell_size
