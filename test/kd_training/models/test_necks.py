"""The neck of several maps: their sizes, beyond the backbone's levels as well, and what reaches which of them."""

import pytest
import torch

from kd_training.models.necks import LevelsNeck

CHANNELS = (4, 6, 8)  # of the backbone's levels at strides 8, 16 and 32


@pytest.mark.parametrize(
    ("stride", "count", "rows"), [(8, 1, [16]), (8, 2, [16, 8]), (8, 4, [16, 8, 4, 2]), (16, 3, [8, 4, 2])]
)
def test_maps_begin_at_the_stride_and_halve(stride, count, rows):
    torch.manual_seed(0)
    neck = LevelsNeck(CHANNELS, 5, stride, count).eval()
    levels = [torch.rand(2, c, 16 // 2**i, 16 // 2**i, requires_grad=True) for i, c in enumerate(CHANNELS)]
    maps = neck(levels)
    assert [tuple(map_.shape) for map_ in maps] == [(2, 5, size, size) for size in rows]
    reached = torch.autograd.grad(
        maps[0].sum(), levels, allow_unused=True, retain_graph=True
    )  # the finest has all that is coarser
    assert [gradient is not None for gradient in reached] == [stride == 8, True, True]
    sum(map_.square().sum() for map_ in maps).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())
