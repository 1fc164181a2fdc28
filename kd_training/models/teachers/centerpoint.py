"""CenterPoint on pillars (arXiv:2006.11275): pillar encoder, SECOND backbone, FPN, and the students' CenterHead."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from kd_perception.errors import ConfigError
from kd_perception.student.box_codes import coding_of
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.point_batch import PointBatch
from kd_training.config.student_spec import bev_grid, configured_classes
from kd_training.config.teacher import TeacherModelConfig
from kd_training.models.center_head import PRE_HEAD, SHARED, CenterHead
from kd_training.models.teachers.pillars import PillarEncoder
from kd_training.models.teachers.second import SecondBackbone, SecondNeck


class CenterPoint(nn.Module):
    """A LiDAR teacher on the student's BEV grid (`grid`).

    Its features are "block1" at the grid's resolution, "block2" at half of it and, with three blocks, "block0" at
    twice. "pre_head" and the head's "shared" are at the grid's.

    added_modules: groups of modules, by prefix, that add nothing at first. Weights of a teacher without virtual points
    may lack such a group as a whole.
    """

    added_modules = (("pillars.label",),)

    def __init__(self, config: TeacherModelConfig) -> None:
        super().__init__()
        _check(config)
        self.config, blocks = config, len(config.block_channels)
        self.grid, self.classes = bev_grid(config.grid), configured_classes(config.classes, f"teacher {config.name}")
        raster = bev_grid(replace(config.grid, cell_size=config.pillar_size))
        self.level_names = tuple(f"block{place + 3 - blocks}" for place in range(blocks))
        virtual = len(self.classes) if config.points.virtual.per_instance else 0
        self.pillars = PillarEncoder(raster, config.pillar_channels, virtual=virtual)
        self.backbone = SecondBackbone(config.pillar_channels, config.block_channels, config.block_layers)
        self.neck = SecondNeck(config.block_channels, config.neck_channels)
        self.coding, incoming = coding_of(config.heading), config.neck_channels * blocks
        self.head = CenterHead(incoming, config.head_shared, config.head_hidden, self.classes, self.coding)

    @property
    def feature_channels(self) -> dict[str, int]:
        """Channels of the features by name."""
        levels = dict(zip(self.level_names, self.config.block_channels, strict=True))
        before = self.config.neck_channels * len(self.level_names)
        return {**levels, PRE_HEAD: before, SHARED: self.head.shared_channels}

    def train_forward(self, points: PointBatch, rigs: int) -> DetectorOutputs:
        """A batch of `rigs` clouds -> predictions and features; shapes in DetectorOutputs."""
        return self.from_levels(self.backbone(self.pillars(points, rigs)))

    def from_levels(self, levels: Sequence[Tensor]) -> DetectorOutputs:
        """The backbone's levels, finest first, or what stands in for them -> what neck and head make of them."""
        features = {**dict(zip(self.level_names, levels, strict=True)), PRE_HEAD: self.neck(levels)}
        return DetectorOutputs(*self.head.predict(features), features)

    @torch.inference_mode()
    def detect(self, points: PointBatch) -> tuple[Tensor, Tensor]:
        """One rig's cloud -> heatmap (classes, rows, columns) probabilities, regression (groups, codes, rows, ...)."""
        device = self.head.shared[0].weight.device
        outputs = self.train_forward(PointBatch(*(part.to(device) for part in points)), 1)
        return torch.sigmoid(outputs.heatmap[0].float()), outputs.regression[0].float()


def _check(config: TeacherModelConfig) -> None:
    """Raise ConfigError where the sizes do not fit."""
    blocks = len(config.block_channels)
    if not 2 <= blocks <= 3 or len(config.block_layers) != blocks:
        raise ConfigError(
            f"teacher {config.name}: block_channels {list(config.block_channels)} and block_layers "
            f"{list(config.block_layers)} must both have two or three entries"
        )
    cell = config.pillar_size * 2 ** (blocks - 1)
    if abs(cell - config.grid.cell_size) > 1e-6:
        raise ConfigError(
            f"teacher {config.name}: {blocks} blocks make cells of {cell:g} m of {config.pillar_size:g} m pillars, but "
            f"grid.cell_size is {config.grid.cell_size:g}; set pillar_size to "
            f"{config.grid.cell_size / 2 ** (blocks - 1):g}"
        )
