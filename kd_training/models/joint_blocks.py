"""Blocks of convolution, batch norm and ReLU that read the same features, computed as one.

A dozen small task heads cost more one after the other: each reads the features, and each adds its gradient to theirs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.models.necks import ConvNormRelu


def side_by_side(blocks: Sequence[ConvNormRelu], x: Tensor) -> list[Tensor]:
    """What each block makes of x (B, C, rows, columns), to rounding. An export traces the blocks one by one."""
    if torch.jit.is_tracing() or any(type(norm) is not nn.BatchNorm2d for _, norm, _ in blocks):
        return [block(x) for block in blocks]
    convolutions, norms = [block[0] for block in blocks], [block[1] for block in blocks]
    weight = torch.cat([convolution.weight for convolution in convolutions])
    joint = functional.relu(_normalised(norms, functional.conv2d(x, weight, padding=convolutions[0].padding)))
    widths = [convolution.out_channels for convolution in convolutions]
    last = joint.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return [part.contiguous(memory_format=layout) for part in joint.split(widths, dim=1)]


def _normalised(norms: Sequence[nn.BatchNorm2d], x: Tensor) -> Tensor:
    """x after the norms of its channels, one after another; in training their statistics follow it."""
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (torch.cat([getattr(norm, name) for norm in norms]) for name in names)
    first = norms[0]
    y = functional.batch_norm(x, mean, variance, weight, bias, first.training, first.momentum, first.eps)
    if first.training:
        widths = [norm.num_features for norm in norms]
        for norm, of_mean, of_variance in zip(norms, mean.split(widths), variance.split(widths), strict=True):
            norm.running_mean.copy_(of_mean)
            norm.running_var.copy_(of_variance)
            norm.num_batches_tracked.add_(1)
    return y
