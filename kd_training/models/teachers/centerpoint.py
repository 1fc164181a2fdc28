"""CenterPoint (arXiv:2006.11275): an encoder of pillars or voxels, SECOND's backbone and FPN, the students' head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_perception.student.box_codes import coding_of
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.point_batch import PointBatch
from kd_training.config.student_spec import bev_grid, configured_classes
from kd_training.config.teacher import TeacherModelConfig
from kd_training.models.center_head import PRE_HEAD, SHARED, CenterHead
from kd_training.models.teachers.encoders import check_sizes, make_encoder
from kd_training.models.teachers.network_axes import from_network, to_network
from kd_training.models.teachers.second import SecondBackbone, SecondNeck

VOLUME = "volume"


class CenterPoint(nn.Module):
    """A LiDAR teacher on the student's BEV grid (`grid`).

    Its features are "block1" at the grid's resolution, "block2" at half of it and, with three blocks, "block0" at
    twice. "pre_head" and the head's "shared" are at the grid's, and so is the "volume" that an encoder of voxels makes:
    the heights of a channel (`layer_heights`) are channels in a row.

    added_modules: groups of modules, by prefix, that add nothing at first. Weights of a teacher without virtual points
    may lack such a group as a whole.
    """

    added_modules = (("pillars.label",), ("voxels.label",))

    def __init__(self, config: TeacherModelConfig) -> None:
        super().__init__()
        check_sizes(config)
        self.config, blocks = config, len(config.block_channels)
        self.grid, self.classes = bev_grid(config.grid), configured_classes(config.classes, f"teacher {config.name}")
        self.level_names = tuple(f"block{place + 3 - blocks}" for place in range(blocks))
        made = make_encoder(config, len(self.classes))
        self.encoder_name = made.name
        self.add_module(made.name, made.encoder)  # weights say what they encode
        self.volume_channels = made.channels if made.heights else 0
        self.layer_heights = {VOLUME: made.heights} if made.heights else {}
        self.backbone = SecondBackbone(
            made.channels, config.block_channels, config.block_layers, first_stride=made.first_stride
        )
        self.neck = SecondNeck(config.block_channels, config.neck_channels)
        self.coding, incoming = coding_of(config.heading), config.neck_channels * blocks
        self.head = CenterHead(
            incoming, config.head_shared, config.head_hidden, self.classes, self.coding, codes=config.head_codes
        )

    @property
    def feature_channels(self) -> dict[str, int]:
        """Channels of the features by name."""
        levels = dict(zip(self.level_names, self.config.block_channels, strict=True))
        before = self.config.neck_channels * len(self.level_names)
        volume = {VOLUME: self.volume_channels} if self.volume_channels else {}
        return {**volume, **levels, PRE_HEAD: before, SHARED: self.head.shared_channels}

    def train_forward(self, points: PointBatch, rigs: int) -> DetectorOutputs:
        """A batch of `rigs` clouds -> predictions and features; shapes in DetectorOutputs."""
        seen = self.encoder(to_network(points, self.config), rigs)
        outputs = self.from_levels(from_network(self.backbone(seen), self.config))
        if self.volume_channels:
            outputs.features[VOLUME] = from_network([seen], self.config)[0]
        return outputs

    @property
    def encoder(self) -> nn.Module:
        """What turns points into the first map."""
        return self.get_submodule(self.encoder_name)

    def from_levels(self, levels: Sequence[Tensor]) -> DetectorOutputs:
        """The backbone's levels, finest first, or what stands in for them -> what neck and head make of them."""
        features = {**dict(zip(self.level_names, levels, strict=True)), PRE_HEAD: self.neck(levels)}
        return DetectorOutputs(*self.head.predict(features), features)

    @property
    def voxels_left_out(self) -> int:
        """How many voxels beyond its budget evaluation has left out so far."""
        return self.encoder.left_out if self.config.voxels.height else 0

    @torch.inference_mode()
    def detect(self, points: PointBatch) -> tuple[Tensor, Tensor]:
        """One rig's cloud -> heatmap (classes, rows, columns) probabilities, regression (groups, codes, rows, ...)."""
        device = self.head.shared[0].weight.device
        outputs = self.train_forward(PointBatch(*(part.to(device) for part in points)), 1)
        return torch.sigmoid(outputs.heatmap[0].float()), outputs.regression[0].float()
