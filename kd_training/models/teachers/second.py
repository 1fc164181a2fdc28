"""SECOND's 2D backbone and FPN, as in PointPillars (arXiv:1812.05784): strided blocks, then one common resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_training.models.necks import ConvNormRelu


class SecondBackbone(nn.Module):
    """Strided blocks: each level is half as large as the one before, and the first 1 / `first_stride` of the input."""

    def __init__(self, incoming: int, channels: Sequence[int], layers: Sequence[int], *, first_stride: int = 2) -> None:
        super().__init__()
        self.blocks, stride = nn.ModuleList(), first_stride
        for outgoing, count in zip(channels, layers, strict=True):
            rest = [ConvNormRelu(outgoing, outgoing) for _ in range(count - 1)]
            self.blocks.append(nn.Sequential(ConvNormRelu(incoming, outgoing, stride=stride), *rest))
            incoming, stride = outgoing, 2

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, incoming, rows, columns) -> levels (B, channels[i], rows / s, columns / s), s = first_stride * 2^i."""
        levels = []
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return levels


class SecondNeck(nn.Module):
    """Brings all levels to the resolution of the last but one, and concatenates them."""

    def __init__(self, level_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        first_scale = 2 - len(level_channels)  # as power of two: below 0 finer than the target, 0 equal, 1 coarser
        self.branches = nn.ModuleList(
            _branch(incoming, channels, first_scale + place) for place, incoming in enumerate(level_channels)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, finest first -> (B, len(levels) * channels, rows, columns), of the last level but one."""
        return torch.cat([branch(level) for branch, level in zip(self.branches, levels, strict=True)], dim=1)


def _branch(incoming: int, outgoing: int, scale: int) -> nn.Sequential:
    """Resamples to the target from a resolution that is 2 ** `scale` times as coarse."""
    if scale <= 0:
        step = 2**-scale
        resize = nn.Conv2d(incoming, outgoing, step, step, bias=False)
    else:
        resize = nn.ConvTranspose2d(incoming, outgoing, 2**scale, 2**scale, bias=False)
    return nn.Sequential(resize, nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True))
