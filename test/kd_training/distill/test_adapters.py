"""Adapters: which one a layer gets, and that a coarse layer comes to lie where it belongs on the teacher's raster."""

import torch

from kd_training.config.distill import LayerPair
from kd_training.distill.adapters import BlockAdapter, LinearAdapter, build_adapter


def test_the_layer_before_the_head_gets_one_convolution_and_the_others_three_blocks():
    before = build_adapter(LayerPair("pre_head", "pre_head"), 6, 12)
    assert isinstance(before, LinearAdapter)
    assert [tuple(parameter.shape) for parameter in before.parameters()] == [(12, 6, 1, 1), (12,)]
    other = build_adapter(LayerPair("half", "block1"), 8, 4)
    assert isinstance(other, BlockAdapter)
    convolutions = [module for module in other.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [tuple(module.weight.shape) for module in convolutions] == [(4, 8, 1, 1), (4, 4, 1, 1), (4, 4, 1, 1)]


def test_upsampling_keeps_every_place_where_it_is():
    """Features that are their cell's x and y, in cells of the fine raster, come out as the fine cells' centres."""
    coarse = torch.stack(torch.meshgrid(2.0 * torch.arange(4) + 1.0, 2.0 * torch.arange(6) + 1.0, indexing="ij"))[None]
    adapter = LinearAdapter(2, 2)
    torch.nn.init.dirac_(adapter.convolution.weight)
    torch.nn.init.zeros_(adapter.convolution.bias)
    with torch.no_grad():
        fine = adapter(coarse, (8, 12))
    expected = torch.stack(torch.meshgrid(torch.arange(8) + 0.5, torch.arange(12) + 0.5, indexing="ij"))[None]
    torch.testing.assert_close(fine[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_blocks_answer_as_the_teachers_layer_is_shaped_and_never_below_zero():
    torch.manual_seed(0)
    adapted = BlockAdapter(8, 4)(torch.randn(2, 8, 6, 8), (12, 16))
    assert adapted.shape == (2, 4, 12, 16) and adapted.min() == 0.0 and adapted.max() > 0.0
