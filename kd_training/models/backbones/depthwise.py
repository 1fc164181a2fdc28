"""Gradients of depthwise convolutions, which PyTorch is slow to find on a CPU.

Those of the bfloat16 kernels are up to 30 times slower than in float32. There the gradient of a 5x5 kernel's weights is
two to four times as slow as in parts: oneDNN has fast ones for at most three columns.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

MIN_COLUMNS = 16  # of a map whose gradient is found in parts; below that channels_last is faster


class Gradients(NamedTuple):
    """Of a convolution's input, weights and bias; None where none is wanted."""

    of_x: Tensor | None
    of_weight: Tensor | None
    of_bias: Tensor | None


def depthwise_gradients(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, wanted: list[bool]) -> Gradients:
    """In float32, of x (N, C, h, w), weight (C, 1, k, k) and bias (C,), those that are `wanted`.

    `gradient` (N, C, h / stride, w / stride) is that of the answer; the padding is k // 2.
    """
    x, weight, gradient = x.float(), weight.float(), gradient.float()
    if weight.shape[3] != 5 or stride > 2 or not wanted[1]:
        return gradients(x, weight, gradient, (stride, stride), wanted)
    of_x, _, of_bias = gradients(x, weight, gradient, (stride, stride), [wanted[0], False, False])
    if wanted[2]:
        of_bias = gradient.sum(dim=(0, 2, 3))
    return Gradients(of_x, _of_wide_weight(x, gradient, stride), of_bias)


def _of_wide_weight(x: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """The weights' gradient (C, 1, 5, 5)."""
    if x.shape[3] < MIN_COLUMNS:
        x, gradient = (map_.contiguous(memory_format=torch.channels_last) for map_ in (x, gradient))
        return _weight_gradient(x, gradient, columns=5, stride=(stride, stride))
    return _by_strips(x, gradient) if stride == 1 else _by_parity(x, gradient)


def _by_strips(x: Tensor, gradient: Tensor) -> Tensor:
    """The weights' gradient (C, 1, 5, 5) at stride 1: columns 1 to 3, then 0 and 4."""
    middle = _weight_gradient(x, gradient, columns=3)
    first = _weight_gradient(x, functional.pad(gradient[..., 2:], (0, 2)), columns=1)
    last = _weight_gradient(x, functional.pad(gradient[..., :-2], (2, 0)), columns=1)
    return torch.cat([first, middle, last], dim=3)


def _by_parity(x: Tensor, gradient: Tensor) -> Tensor:
    """The weights' gradient (C, 1, 5, 5) at stride 2: columns 0, 2, 4 read even columns of x, 1 and 3 odd ones."""
    even, odd = x[..., 0::2], functional.pad(x[..., 1::2], (0, x.shape[3] % 2))
    of_even, of_odd = (_weight_gradient(part, gradient, columns=3, stride=(2, 1)) for part in (even, odd))
    return torch.stack([of_even, of_odd], dim=4).flatten(3)[..., :5]


def _weight_gradient(x: Tensor, gradient: Tensor, *, columns: int, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """(C, 1, 5, columns) of a depthwise convolution whose kernel is five rows high."""
    weight = x.new_empty(x.shape[1], 1, 5, columns)  # only its shape is read
    return gradients(x, weight, gradient, stride, [False, True, False]).of_weight


def gradients(x: Tensor, weight: Tensor, gradient: Tensor, stride: tuple[int, int], wanted: list[bool]) -> Gradients:
    """PyTorch's own, of a convolution of all channels or of each, padded by half a kernel; see `depthwise_gradients`.

    torch.nn.grad calls the same with an expanded tensor of x's size, which is then written out for nothing.
    """
    padding = [weight.shape[2] // 2, weight.shape[3] // 2]
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], stride, padding, dilation=[1, 1],
        transposed=False, output_padding=[0, 0], groups=x.shape[1] // weight.shape[1], output_mask=wanted,
    )  # fmt: skip
    return Gradients(*found)
