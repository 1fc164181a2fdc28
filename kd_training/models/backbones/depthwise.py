"""Depthwise convolutions, whose gradients PyTorch is slow to find on a CPU."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

MIN_COLUMNS = 16  # of a map whose gradient is found in parts; below that channels_last is faster


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that stays in float32 under CPU autocast where gradients are wanted.

    The backward pass of the bfloat16 kernels is up to 30 times slower; their forward pass is two to six times faster.
    In float32 the gradient of a 5x5 kernel's weights is two to four times as slow as in parts.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h / stride, w / stride), as nn.Conv2d; the result has the input's type."""
        if x.device.type != "cpu" or not self._learns(x):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            wide = x.to(self.weight.dtype)
            if self._is_slow():
                return _WideKernel.apply(wide, self.weight, self.bias, self.stride[0]).to(x.dtype)
            return super().forward(wide).to(x.dtype)

    def _learns(self, x: Tensor) -> bool:
        """Whether a gradient will be wanted of x or the weights."""
        return torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)

    def _is_slow(self) -> bool:
        """Whether the gradient of the weights will be wanted, and is found here faster than by PyTorch."""
        if not self.weight.requires_grad or torch.jit.is_tracing():
            return False
        return self.kernel_size == (5, 5) and self.stride in {(1, 1), (2, 2)}


class _WideKernel(torch.autograd.Function):
    """A depthwise convolution with a 5x5 kernel: oneDNN has fast gradients of weights for at most three columns."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        """x (N, C, h, w), weight (C, 1, 5, 5), bias (C,) or None -> (N, C, h / stride, w / stride)."""
        ctx.save_for_backward(x, weight)
        ctx.biased, ctx.stride = bias is not None, stride
        return functional.conv2d(x, weight, bias, stride=stride, padding=2, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        """The gradient of the answer -> those of x, weight and bias."""
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = _backward(x, weight, gradient, (ctx.stride, ctx.stride), [True, False, False])
        of_weight = _of_weight(x, gradient, ctx.stride)
        return of_x, of_weight, gradient.sum(dim=(0, 2, 3)) if ctx.biased else None, None


def _of_weight(x: Tensor, gradient: Tensor, stride: int) -> Tensor:
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
    _, of_weight, _ = _backward(x, weight, gradient, stride, [False, True, False])
    return of_weight


def _backward(
    x: Tensor, weight: Tensor, gradient: Tensor, stride: tuple[int, int], wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Those gradients of (x, weight, bias) that are `wanted`.

    torch.nn.grad calls the same with an expanded tensor of x's size, which is then written out for nothing.
    """
    padding = [2, weight.shape[3] // 2]
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation=[1, 1],
        transposed=False, output_padding=[0, 0], groups=weight.shape[0], output_mask=wanted,
    )  # fmt: skip
