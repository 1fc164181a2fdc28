"""Depthwise convolutions give the values and gradients of PyTorch's own."""

import pytest
import torch
from torch import nn

from kd_training.models.backbones.depthwise import DepthwiseConv2d


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("size", [(6, 24), (7, 25), (1, 16), (3, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (3, 1)])
def test_gradients_are_those_of_a_grouped_convolution(kernel, stride, size, biased):
    """5x5 kernels on wide maps find their weights' gradient in parts, all others as PyTorch does."""
    torch.manual_seed(kernel)
    ours = DepthwiseConv2d(16, 16, kernel, stride, padding=kernel // 2, groups=16, bias=biased)
    plain = nn.Conv2d(16, 16, kernel, stride, padding=kernel // 2, groups=16, bias=biased)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 16, *size).to(memory_format=torch.channels_last).requires_grad_()
    expected = plain(x)
    got = ours(x)
    torch.testing.assert_close(got, expected)
    factor = torch.randn_like(got)
    gradients = torch.autograd.grad(got, [x, *ours.parameters()], factor)
    torch.testing.assert_close(
        gradients, torch.autograd.grad(expected, [x, *plain.parameters()], factor), rtol=1e-5, atol=1e-5
    )


def test_autocast_keeps_float32_where_it_learns():
    """Computed in float32, given back in the input's type."""
    layer = DepthwiseConv2d(16, 16, 5, padding=2, groups=16)
    x = torch.randn(1, 16, 4, 20).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, layer(x.float()).bfloat16(), rtol=0.0, atol=0.0)


def test_autocast_is_followed_where_nothing_learns():
    """A frozen layer computes as PyTorch's own under autocast: its fast kernels have no slow gradient there."""
    layer = DepthwiseConv2d(16, 16, 5, padding=2, groups=16).requires_grad_(requires_grad=False)
    plain = nn.Conv2d(16, 16, 5, padding=2, groups=16)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(1, 16, 4, 20)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(layer(x), plain(x), rtol=0.0, atol=0.0)
