"""A convolution that takes ReLU6 along gives the values and gradients of PyTorch's own layers."""

import pytest
import torch
from torch import nn

from kd_training.models.backbones.rectified import RectifiedSequential


def layers(channels: int, outgoing: int, kernel: int, stride: int = 1, *, groups: int = 1, biased: bool = True):
    """A convolution, its ReLU6 and a layer behind; in one pass, and as PyTorch has it."""
    torch.manual_seed(kernel)
    convolution = nn.Conv2d(channels, outgoing, kernel, stride, padding=kernel // 2, groups=groups, bias=biased)
    nn.init.normal_(convolution.weight)  # values on both sides of 0 and 6
    parts = (convolution, nn.ReLU6(inplace=True), nn.Conv2d(outgoing, 4, 1))
    return RectifiedSequential(*parts), nn.Sequential(*parts)


def picture(channels: int, size: tuple[int, int]) -> torch.Tensor:
    """Two maps, channels_last."""
    return (2.0 * torch.randn(2, channels, *size)).to(memory_format=torch.channels_last)


KINDS = [
    (16, 16, 5, 1, 16),
    (16, 16, 5, 2, 16),
    (16, 16, 3, 1, 16),
    (16, 16, 3, 2, 16),
    (3, 8, 3, 2, 1),
    (6, 8, 1, 1, 1),
]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("size", [(6, 24), (7, 25), (1, 16), (3, 1)])
@pytest.mark.parametrize(("channels", "outgoing", "kernel", "stride", "groups"), KINDS)
def test_values_and_gradients_are_those_of_plain_layers(channels, outgoing, kernel, stride, groups, size, biased):
    """5x5 kernels on wide maps find their weights' gradient in parts, all others as PyTorch does."""
    ours, plain = layers(channels, outgoing, kernel, stride, groups=groups, biased=biased)
    x = picture(channels, size).requires_grad_()
    got, expected = ours(x), plain(x)
    torch.testing.assert_close(got, expected)
    factor = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad(got, [x, *ours.parameters()], factor),
        torch.autograd.grad(expected, [x, *plain.parameters()], factor),
        rtol=1e-5,
        atol=1e-4,
    )


def learns_in_float32(plain: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """What the layers give under autocast where a depthwise convolution keeps float32."""
    with torch.autocast("cpu", enabled=False):
        rectified = plain[1](plain[0](x.bfloat16().float()).bfloat16())
    return plain[2](rectified)


@pytest.mark.parametrize(("channels", "outgoing", "kernel", "stride", "groups"), KINDS)
def test_under_autocast_values_are_those_of_plain_layers_and_gradients_as_near_to_float32s(
    channels, outgoing, kernel, stride, groups
):
    ours, plain = layers(channels, outgoing, kernel, stride, groups=groups)
    x = picture(channels, (8, 24)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        got, expected = ours(x), plain(x) if groups == 1 else learns_in_float32(plain, x)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected, rtol=0.0, atol=0.0)
    factor = torch.randn_like(got)
    found, theirs, exact = (
        torch.autograd.grad(answer, [x, *plain.parameters()], factor.to(answer.dtype))
        for answer in (got, expected, plain(x))
    )
    for mine, their, right, like in zip(found, theirs, exact, [x, *plain.parameters()], strict=True):
        assert mine.dtype == like.dtype and (mine - right).norm() < 1.1 * (their - right).norm() + 1e-3


def test_a_frozen_depthwise_layer_follows_autocast():
    """Its fast kernels have no slow gradient there."""
    ours, plain = layers(16, 16, 5, groups=16)
    x = picture(16, (4, 20))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x), rtol=0.0, atol=0.0)


def test_frozen_layers_get_no_gradient_and_pass_it_on():
    ours, plain = layers(16, 16, 5, groups=16)
    ours[0].requires_grad_(requires_grad=False)
    x = picture(16, (6, 24)).requires_grad_()
    ours(x).sum().backward()
    assert ours[0].weight.grad is None
    torch.testing.assert_close(x.grad, torch.autograd.grad(plain(x).sum(), x)[0], rtol=1e-5, atol=1e-5)


def test_other_layers_stay_as_they_are():
    """Grouped and dilated convolutions, other paddings, activations behind none, and other types."""
    parts = [nn.ReLU6(), nn.Conv2d(4, 4, 3, groups=2, padding=1), nn.ReLU6(), nn.Conv2d(4, 4, 3), nn.ReLU6()]
    parts += [nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.ReLU6(), nn.BatchNorm2d(4).eval(), nn.ReLU6()]
    x = picture(4, (9, 9))
    ours, plain = RectifiedSequential(*parts), nn.Sequential(*parts)
    torch.testing.assert_close(ours(x), plain(x), rtol=0.0, atol=0.0)
    torch.testing.assert_close(ours.double()(x.double()), plain(x.double()), rtol=0.0, atol=0.0)


def test_an_export_traces_the_plain_layers():
    ours, _ = layers(6, 8, 1)
    graph = str(torch.jit.trace(ours, picture(6, (4, 4))).inlined_graph)
    assert "hardtanh" in graph and "_convolution_pointwise" not in graph
