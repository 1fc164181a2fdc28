"""Voxel encoder (SECOND, Sensors 18(10), 2018; CenterPoint, arXiv:2006.11275): points -> means of voxels -> sparse 3D
convolutions -> a BEV map, whose heights lie behind each other as channels."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.grid import BevGrid
from kd_perception.teacher.pillars import AGE_SCALE, HEIGHT_SCALE, RANGE_SCALE
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import TeacherModelConfig
from kd_training.models.sparse.convolution import (
    SparseConvNorm,
    SparseResidual,
    StridedConv,
    SubmanifoldConv,
    rectified,
)
from kd_training.models.sparse.maps import SparseMap, places_of
from kd_training.models.teachers.pillars import cells_of
from kd_training.models.wide import wide_where

SCALES = (1.0 / RANGE_SCALE, 1.0 / RANGE_SCALE, 1.0 / HEIGHT_SCALE, 1.0, 1.0 / AGE_SCALE)  # of x, y, z, intensity, age


class VoxelRaster(NamedTuple):
    """Where voxels lie: cells of `grid`, from `bottom` metres up in `shape[0]` layers of `height` metres."""

    grid: BevGrid
    bottom: float
    height: float
    shape: tuple[int, int, int]


class VoxelEncoder(nn.Module):
    """Encodes points on a raster of voxels. Each step down halves it along all axes; the last keeps x and y.

    It also learns from the labels of virtual points, which are of `virtual` classes; 0: there are none.
    `left_out` counts the voxels beyond the budget that evaluation left out.
    """

    def __init__(self, raster: VoxelRaster, config: TeacherModelConfig, *, virtual: int = 0) -> None:
        super().__init__()
        channels, self.name = config.voxels.channels, config.name
        self.raster, self.most, self.virtual, self.left_out = raster, config.voxels.most, virtual, 0
        self.enter = SparseConvNorm(SubmanifoldConv(len(SCALES), channels[0]))
        if virtual:
            self.label = nn.Embedding(1 + virtual, channels[0])  # 0 at first: as an encoder without labels
            nn.init.zeros_(self.label.weight)
        residuals = ([SparseResidual(width) for _ in range(config.voxels.blocks)] for width in channels)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in residuals)
        self.down = nn.ModuleList(
            SparseConvNorm(StridedConv(incoming, outgoing, (3, 3, 3), (2, 2, 2), padding))
            for incoming, outgoing, padding in zip(channels[:-1], channels[1:], paddings(len(channels)), strict=True)
        )
        self.leave = SparseConvNorm(StridedConv(channels[-1], config.voxels.outgoing, (3, 1, 1), (2, 1, 1), (0, 0, 0)))

    def forward(self, batch: PointBatch, rigs: int) -> Tensor:
        """Points of `rigs` rigs -> (rigs, outgoing * layers, rows, columns), 0 where nothing is.

        Raises DataError in training where a rig has more voxels than the budget.
        """
        given, labels = self._voxels(batch, rigs)
        device = given.features.device
        with wide_where(device):
            added = labels @ self.label.weight if self.virtual else None
            found = rectified(self.enter(given, added))
        with wide_where(device) if device.type == "cpu" else nullcontext():
            for place, stage in enumerate(self.stages):
                if place:
                    found = rectified(self.down[place - 1](found))
                found = stage(found)
            return rectified(self.leave(found)).dense().flatten(1, 2)

    @torch.no_grad()
    def _voxels(self, batch: PointBatch, rigs: int) -> tuple[SparseMap, Tensor | None]:
        """Means (V, 5) of the points inside each voxel, scaled; and the share (V, 1 + classes) that has each label.

        Labels as in PointBatch; None without virtual points.
        """
        batch, (layers, rows, columns) = self._inside(batch), self.raster.shape
        cells = cells_of(batch.points, self.raster.grid).floor().long()
        layer = ((batch.points[:, 2] - self.raster.bottom) / self.raster.height).floor().long()
        index = ((batch.rig * layers + layer) * rows + cells[:, 1]) * columns + cells[:, 0]
        index, voxel, count = torch.unique(index, return_inverse=True, return_counts=True)
        places = places_of(index, self.raster.shape)
        values = batch.points[:, : len(SCALES)] * batch.points.new_tensor(SCALES)
        if self.virtual:
            labels = nn.functional.one_hot(batch.points[:, 5].long(), 1 + self.virtual)
            values = torch.cat([values, labels.to(values.dtype)], dim=1)
        means = values.new_zeros(len(index), values.shape[1]).index_add_(0, voxel, values) / count[:, None]
        kept = self._within_budget(places[:, 0], count, rigs)
        means, places = means[kept], places[kept]
        given = SparseMap(means[:, : len(SCALES)], places, self.raster.shape, rigs)
        return given, means[:, len(SCALES) :] if self.virtual else None

    def _inside(self, batch: PointBatch) -> PointBatch:
        """The points inside the raster; its topmost layer stays empty."""
        (layers, rows, columns), points = self.raster.shape, batch.points
        cells = cells_of(points, self.raster.grid)
        layer = (points[:, 2] - self.raster.bottom) / self.raster.height
        inside = (cells >= 0).all(1) & (cells[:, 0] < columns) & (cells[:, 1] < rows)
        inside &= (layer >= 0) & (layer < layers - 1)
        return PointBatch(points[inside], batch.rig[inside])

    def _within_budget(self, rig: Tensor, count: Tensor, rigs: int) -> Tensor:
        """Which voxels (V,) bool are used: of a rig with too many those with the most points."""
        kept = torch.ones_like(rig, dtype=torch.bool)
        if not self.most:
            return kept
        found = torch.bincount(rig, minlength=rigs).tolist()
        for place, voxels in enumerate(found):
            if voxels <= self.most:
                continue
            if self.training:
                raise DataError(
                    f"teacher {self.name}: a cloud has {voxels} voxels, and teacher.voxels.most is {self.most}; raise "
                    "it if memory allows, or thin clouds out with teacher.points.per_pillar or teacher.points.most"
                )
            own = (rig == place).nonzero().squeeze(1)
            kept[own[count[own].argsort(descending=True, stable=True)[self.most :]]] = False
            self.left_out += voxels - self.most
        return kept


def paddings(stages: int) -> list[tuple[int, int, int]]:
    """Along z, y and x, of the steps between two stages or more: none along z in the last."""
    return [(1, 1, 1)] * (stages - 2) + [(0, 1, 1)]


def voxel_raster(grid: BevGrid, config: TeacherModelConfig) -> VoxelRaster:
    """The raster on the cells of `grid`, one layer more than z_range holds, as SECOND has it.

    Raises ConfigError if layers do not fill z_range, or are too few for the steps down.
    """
    low, high = config.points.z_range
    layers = (high - low) / config.voxels.height
    if abs(layers - round(layers)) > 1e-6:
        raise ConfigError(
            f"teacher {config.name}: points.z_range {low:g} to {high:g} m is not a whole number of voxels of "
            f"{config.voxels.height:g} m; change voxels.height"
        )
    raster = VoxelRaster(grid, low - config.network_height, config.voxels.height, (round(layers) + 1, *grid.shape))
    if layers_out(raster, config) < 1:
        raise ConfigError(
            f"teacher {config.name}: {round(layers)} layers of voxels are too few for {len(config.voxels.channels)} "
            "stages; lower voxels.height, or give voxels.channels fewer entries"
        )
    return raster


def layers_out(raster: VoxelRaster, config: TeacherModelConfig) -> int:
    """Layers of the encoder's last map."""
    layers = raster.shape[0]
    for padding, _, _ in paddings(len(config.voxels.channels)):
        layers = (layers + 2 * padding - 3) // 2 + 1
    return (layers - 3) // 2 + 1
