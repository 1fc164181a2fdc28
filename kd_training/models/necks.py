"""Image necks: light feature pyramids (FPN, arXiv:1612.03144) over the backbone's levels, of one map or of several."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNormRelu(nn.Sequential):
    """Convolution without bias, batch norm, ReLU: the block of every part that is trained from scratch.

    (N, incoming, rows, columns) -> (N, outgoing, rows / stride, columns / stride).
    """

    def __init__(self, incoming: int, outgoing: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(incoming, outgoing, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outgoing),
            nn.ReLU(inplace=True),
        )


class PyramidNeck(nn.Module):
    """Merges levels at strides 8, 16 and 32 into one map at `stride` (8 or 16): top-down sums, then a 3x3 block.

    Levels finer than `stride` are not used.
    """

    def __init__(self, level_channels: Sequence[int], channels: int, stride: int) -> None:
        super().__init__()
        self.first = {8: 0, 16: 1}[stride]
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in level_channels[self.first :])
        self.output = ConvNormRelu(channels, channels)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (N, level_channels[i], rows_i, columns_i), finest first -> one map (N, channels, rows, columns)."""
        maps = [lateral(level) for lateral, level in zip(self.lateral, levels[self.first :], strict=True)]
        merged = maps[-1]
        for finer in reversed(maps[:-1]):
            merged = finer + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
        return self.output(merged)


class LevelsNeck(nn.Module):
    """Maps at `stride` (8 or 16) and `count` - 1 times twice that, each with the coarser levels added to it.

    Beyond stride 32 a convolution halves the last map.
    """

    def __init__(self, level_channels: Sequence[int], channels: int, stride: int, count: int) -> None:
        super().__init__()
        self.first = {8: 0, 16: 1}[stride]
        used = level_channels[self.first :]
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in used)
        self.output = nn.ModuleList(ConvNormRelu(channels, channels) for _ in used[:count])
        self.further = nn.ModuleList(ConvNormRelu(channels, channels, stride=2) for _ in range(count - len(used)))

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels (N, level_channels[i], rows_i, columns_i), finest first -> maps (N, channels, ...), finest first."""
        maps = [lateral(level) for lateral, level in zip(self.lateral, levels[self.first :], strict=True)]
        for finer in reversed(range(len(maps) - 1)):
            maps[finer] = maps[finer] + functional.interpolate(maps[finer + 1], scale_factor=2.0, mode="nearest")
        maps = [output(merged) for output, merged in zip(self.output, maps, strict=False)]
        for halve in self.further:
            maps.append(halve(maps[-1]))
        return tuple(maps)


class DepthContext(nn.Module):
    """The lift's two outputs per feature pixel (LSS, arXiv:2008.05711): logits over range bins and context features."""

    def __init__(self, channels: int, bins: int, context: int) -> None:
        super().__init__()
        self.bins = bins
        self.hidden = nn.Sequential(ConvNormRelu(channels, channels), ConvNormRelu(channels, channels))
        self.output = nn.Conv2d(channels, bins + context, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, channels, rows, columns) -> depth logits (N, bins, rows, columns) and context (N, context, ...).

        In evaluation, and so in the file, `output` is two convolutions: engines would copy to take one result apart.
        """
        hidden = self.hidden(features)
        if self.training:
            both = self.output(hidden)
            return torch.split(both, [self.bins, both.shape[1] - self.bins], dim=1)
        of_depth, of_context = self.output_halves
        return functional.conv2d(hidden, *of_depth), functional.conv2d(hidden, *of_context)

    @property
    def output_halves(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Weight and bias of `output` for the depth logits, and those for the context."""
        weight, bias = self.output.weight, self.output.bias
        return (weight[: self.bins], bias[: self.bins]), (weight[self.bins :], bias[self.bins :])
