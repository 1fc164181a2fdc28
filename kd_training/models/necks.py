"""Image necks: light feature pyramids (FPN, arXiv:1612.03144) over the backbone's levels, of one map or of several."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.batches.detector_outputs import ImagePyramid


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


class TopDown(nn.Module):
    """The top-down path of both necks: the levels from `stride` (8 or 16) on, each with the coarser ones added to it.

    Levels finer than `stride` are not used.
    """

    def __init__(self, level_channels: Sequence[int], channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.level_channels = channels, tuple(level_channels)
        self.first = {8: 0, 16: 1}[stride]
        self.strides = tuple(8 << number for number in range(self.first, len(level_channels)))
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in level_channels[self.first :])

    @property
    def below_channels(self) -> int:
        """Channels of the level that is next to the finest one used; 0 if all are."""
        return self.level_channels[self.first - 1] if self.first else 0

    def sums(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels (N, level_channels[i], rows_i, columns_i), finest first -> maps (N, channels, ...) at `strides`."""
        maps = [lateral(level) for lateral, level in zip(self.lateral, levels[self.first :], strict=True)]
        for finer in reversed(range(len(maps) - 1)):
            maps[finer] = add_coarser(maps[finer], maps[finer + 1])
        return maps

    def pyramid(self, levels: Sequence[Tensor], sums: Sequence[Tensor]) -> ImagePyramid:
        """What training shows of the backbone's levels and of their sums."""
        below = levels[self.first - 1] if self.first else None
        return ImagePyramid(dict(zip(self.strides, sums, strict=True)), below)


def add_coarser(finer: Tensor, coarser: Tensor) -> Tensor:
    """A map (N, channels, rows, columns) with that of twice its stride added, which odd sizes make one too large."""
    rows, columns = finer.shape[2:]
    doubled = functional.interpolate(coarser, scale_factor=2.0, mode="nearest")
    return finer + (doubled if doubled.shape == finer.shape else doubled[:, :, :rows, :columns])


class PyramidNeck(TopDown):
    """Merges levels at strides 8, 16 and 32 into one map at `stride` (8 or 16): top-down sums, then a 3x3 block."""

    def __init__(self, level_channels: Sequence[int], channels: int, stride: int) -> None:
        super().__init__(level_channels, channels, stride)
        self.output = ConvNormRelu(channels, channels)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ImagePyramid]:
        """Levels (N, level_channels[i], rows_i, columns_i), finest first -> one map (N, channels, rows, columns), and
        what training shows.
        """
        sums = self.sums(levels)
        return self.output(sums[0]), self.pyramid(levels, sums)


class LevelsNeck(TopDown):
    """Maps at `stride` (8 or 16) and `count` - 1 times twice that, each with the coarser levels added to it.

    Beyond stride 32 a convolution halves the last map.
    """

    def __init__(self, level_channels: Sequence[int], channels: int, stride: int, count: int) -> None:
        super().__init__(level_channels, channels, stride)
        used = len(self.strides)
        self.output = nn.ModuleList(ConvNormRelu(channels, channels) for _ in range(min(count, used)))
        self.further = nn.ModuleList(ConvNormRelu(channels, channels, stride=2) for _ in range(count - used))

    def forward(self, levels: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], ImagePyramid]:
        """Levels (N, level_channels[i], rows_i, columns_i), finest first -> maps (N, channels, ...), finest first, and
        what training shows.
        """
        sums = self.sums(levels)
        maps = [output(merged) for output, merged in zip(self.output, sums, strict=False)]
        for halve in self.further:
            maps.append(halve(maps[-1]))
        return tuple(maps), self.pyramid(levels, sums)


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
