"""Label encoder (LabelDistill, arXiv:2407.10164): true boxes become features of a teacher's backbone, such that the
teacher's frozen neck and head find these boxes in them. It is the inverse of the head.

What a camera can know of a scene is in its boxes; what only a LiDAR knows (walls, point patterns) is not.
"""

import torch
from torch import Tensor, nn

from kd_training.batches.painted_boxes import GEOMETRY, PaintedBoxes
from kd_training.config.labels import LabelModelConfig
from kd_training.models.teachers.centerpoint import CenterPoint

DIGEST = "teacher_digest"  # buffer: SHA-256 of the teacher's weights file, as 32 bytes


class LabelEncoder(nn.Module):
    """Paints boxes into a raster of the grid, and makes a map of each of the teacher's backbone levels from it."""

    def __init__(self, config: LabelModelConfig, teacher: CenterPoint) -> None:
        super().__init__()
        self.shape, self.channels = teacher.grid.shape, config.channels
        self.level_names, levels = teacher.level_names, teacher.config.block_channels
        self.box, self.kind = _mlp(GEOMETRY, config.channels), _mlp(len(teacher.classes), config.channels)
        self.classes = len(teacher.classes)
        self.stem = ConvCellNorm(nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False))
        self.levels = nn.ModuleList(
            _level(config.channels, channels, place + 2 - len(levels)) for place, channels in enumerate(levels)
        )
        self.register_buffer(DIGEST, torch.zeros(32, dtype=torch.uint8))

    def belong_to(self, digest: str) -> None:
        """Remember the teacher: the SHA-256 of its weights file, in hexadecimal."""
        self.get_buffer(DIGEST).copy_(torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8))

    def forward(self, painted: PaintedBoxes, rigs: int) -> list[Tensor]:
        """Boxes of `rigs` rigs -> levels (rigs, channels[i], rows_i, columns_i), finest first, as the backbone's."""
        rows, columns = self.shape
        kind = self.kind(nn.functional.one_hot(painted.label, self.classes).float())
        lifted = torch.relu(self.box(painted.geometry) + kind)
        raster = lifted.new_zeros(rigs * rows * columns, self.channels)
        # where boxes overlap each channel takes the larger; after ReLU nothing lies below the zeros
        raster = raster.scatter_reduce(0, painted.place[:, None].expand_as(lifted), lifted, "amax", include_self=True)
        stem = self.stem(raster.reshape(rigs, rows, columns, self.channels).permute(0, 3, 1, 2))
        return [level(stem) for level in self.levels]


class ConvCellNorm(nn.Module):
    """A convolution, layer norm over the channels of each cell, ReLU.

    Most cells are empty: statistics over a whole map, as of batch norm, would be theirs.
    """

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, nn.LayerNorm(convolution.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, incoming, rows, columns) -> (B, outgoing, rows', columns') of the convolution."""
        return torch.relu(self.norm(self.convolution(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def _mlp(incoming: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(incoming, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels))


def _level(incoming: int, outgoing: int, coarser: int) -> nn.Sequential:
    """A map whose cells are 2 ** `coarser` times as large as the grid's."""
    if coarser < 0:
        first = nn.ConvTranspose2d(incoming, outgoing, 2**-coarser, 2**-coarser, bias=False)
    else:
        first = nn.Conv2d(incoming, outgoing, 3, 2**coarser, padding=1, bias=False)
    return nn.Sequential(ConvCellNorm(first), ConvCellNorm(nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False)))
