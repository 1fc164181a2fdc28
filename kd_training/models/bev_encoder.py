"""BEV encoder: residual blocks (arXiv:1512.03385) at 1/2 and 1/4 of the grid, merged back to full resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.models.necks import ConvNormRelu


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, incoming: int, outgoing: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNormRelu(incoming, outgoing, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False), nn.BatchNorm2d(outgoing))
        self.shortcut = None
        if stride != 1 or incoming != outgoing:
            self.shortcut = nn.Sequential(
                nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, incoming, rows, columns) -> (B, outgoing, rows / stride, columns / stride)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return torch.relu(self.second(self.first(x)) + shortcut)


class BevEncoder(nn.Module):
    """A 3x3 block at full resolution, `blocks` residual blocks at 1/2 and at 1/4 of it, and a top-down path back.

    The blocks have 1.5 and 2 times `channels`. `level_channels` names the channels of each level of `refine`.
    """

    def __init__(self, incoming: int, channels: int, blocks: int) -> None:
        super().__init__()
        half, quarter = channels * 3 // 2, channels * 2
        self.level_channels = {"enter": channels, "half": half, "quarter": quarter, "pre_head": channels}
        self.enter = ConvNormRelu(incoming, channels)
        self.down_half = _stage(channels, half, blocks)
        self.down_quarter = _stage(half, quarter, blocks)
        self.lateral_quarter = ConvNormRelu(quarter, half, kernel=1)
        self.merge_half = ConvNormRelu(half, half)
        self.lateral_half = ConvNormRelu(half, channels, kernel=1)
        self.merge_full = ConvNormRelu(channels, channels)

    def forward(self, bev: Tensor) -> Tensor:
        """(B, incoming, rows, columns) -> (B, channels, rows, columns), the level "pre_head" of `refine`."""
        return self.refine(self.enter(bev))["pre_head"]

    def refine(self, full: Tensor) -> dict[str, Tensor]:
        """The output of `enter` (B, channels, rows, columns), perhaps with memory added -> levels by name.

        "enter", "half" and "quarter" are at 1, 1/2 and 1/4 of the resolution. "pre_head" is what they merge to,
        (B, channels, rows, columns).
        """
        half = self.down_half(full)
        quarter = self.down_quarter(half)
        merged = self.merge_half(half + _doubled(self.lateral_quarter(quarter)))
        merged = self.merge_full(full + _doubled(self.lateral_half(merged)))
        return {"enter": full, "half": half, "quarter": quarter, "pre_head": merged}


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear")


def _stage(incoming: int, channels: int, blocks: int) -> nn.Sequential:
    rest = [ResidualBlock(channels, channels) for _ in range(blocks - 1)]
    return nn.Sequential(ResidualBlock(incoming, channels, stride=2), *rest)
