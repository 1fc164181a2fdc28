"""The pillar encoder of published checkpoints (PointPillars, arXiv:1812.05784): raw inputs, offsets from the pillar's
mean and centre, one linear layer or more. Later layers see each point next to its pillar's maximum."""

import torch
from torch import Tensor, nn

from kd_perception.errors import ConfigError
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import TeacherModelConfig
from kd_training.models.teachers.pillars import cells_of
from kd_training.models.wide import wide_where

RAW = 5  # x, y, z, intensity, age
OFFSETS = 3


class PublishedPillarEncoder(nn.Module):
    """Encodes points on a raster. Raises ConfigError for virtual points, which no published pillars know, and for rows
    that fill up more than one layer."""

    def __init__(self, raster: BevGrid, config: TeacherModelConfig) -> None:
        super().__init__()
        if config.points.virtual.per_instance:
            raise ConfigError(f"teacher {config.name}: published_pillars take no virtual points; set one of them to 0")
        shape, channels = config.published_pillars, config.pillar_channels
        if shape.rows and shape.layers > 1:
            raise ConfigError(f"teacher {config.name}: published_pillars.rows is for one layer, not {shape.layers}")
        low, high = config.points.z_range
        self.raster, self.channels, self.rows = raster, channels, shape.rows
        self.centre = (low + high) / 2.0 - config.network_height if shape.centred_height else None
        incoming = RAW + OFFSETS + (OFFSETS if shape.centred_height else OFFSETS - 1)
        self.layers = nn.ModuleList()
        for place in range(shape.layers):
            outgoing = channels if place == shape.layers - 1 else channels // 2
            self.layers.append(_layer(incoming, outgoing))
            incoming = 2 * outgoing

    def forward(self, batch: PointBatch, rigs: int) -> Tensor:
        """Points of `rigs` rigs -> (rigs, channels, rows, columns) over `raster`, 0 where no points are."""
        rows, columns = self.raster.shape
        place, pillar, values, short = self._inputs(batch)
        for index, layer in enumerate(self.layers):
            with wide_where(values.device):
                values = layer(values)
            most = self._maximum(values, pillar, len(place), short, layer)
            if index < len(self.layers) - 1:
                values = torch.cat([values, most[pillar]], dim=1)
        raster = most.new_zeros(rigs * rows * columns, self.channels).index_copy(0, place, most)
        return raster.reshape(rigs, rows, columns, self.channels).permute(0, 3, 1, 2)

    def _maximum(self, values: Tensor, pillar: Tensor, pillars: int, short: Tensor, layer: nn.Module) -> Tensor:
        """The maximum (pillars, channels) over the points of each, and over a row of zeros where it is filled up."""
        most = values.new_zeros(pillars, values.shape[1])  # after ReLU nothing lies below
        most = most.scatter_reduce(0, pillar[:, None].expand_as(values), values, "amax", include_self=True)
        if not self.rows:
            return most
        norm = layer[1]
        filled = torch.relu(norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt())
        return torch.where(short[:, None], torch.maximum(most, filled.to(most.dtype)), most)

    @torch.no_grad()
    def _inputs(self, batch: PointBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Places of the pillars (Q,) in all rasters; of the points inside their pillar (P,) and inputs (P, ...); and
        whether a pillar is filled up (Q,)."""
        rows, columns = self.raster.shape
        cells = cells_of(batch.points, self.raster)
        corner = cells.floor()
        inside = (corner >= 0).all(1) & (corner[:, 0] < columns) & (corner[:, 1] < rows)
        points, cells, corner, rig = (part[inside] for part in (batch.points, cells, corner, batch.rig))
        index = (rig * rows + corner[:, 1].long()) * columns + corner[:, 0].long()
        place, pillar, count = torch.unique(index, return_inverse=True, return_counts=True)
        mean = points.new_zeros(len(place), OFFSETS).index_add_(0, pillar, points[:, :3]) / count[:, None]
        parts = [points[:, :RAW], points[:, :3] - mean[pillar], (cells - corner - 0.5) * self.raster.cell_size]
        if self.centre is not None:
            parts.append(points[:, 2:3] - self.centre)
        return place, pillar, torch.cat(parts, dim=1), count < self.rows


def _layer(incoming: int, outgoing: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(incoming, outgoing, bias=False), nn.BatchNorm1d(outgoing), nn.ReLU(inplace=True))
